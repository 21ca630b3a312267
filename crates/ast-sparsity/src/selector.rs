use crate::snapshot::snapshot_error;
use crate::{
    Accounting, Needs, Observation, Policy, Progress, Selected, SelectionError, Settings, Snapshot, policy,
};

/// Drives a policy for a training loop: checks its inputs and counts its selections.
pub struct Selector {
    policy: Box<dyn Policy>,
    samples: usize,
    progress: Option<Progress>,
    needs: Needs,
    accounting: Accounting,
}

impl Selector {
    /// The policy that `settings` name.
    pub fn new(settings: &Settings) -> Result<Self, SelectionError> {
        Ok(Self::of(policy(settings)?, settings.samples))
    }

    /// A policy of your own, or with a score of your own, over `samples` samples.
    pub fn of(policy: Box<dyn Policy>, samples: usize) -> Self {
        Self { policy, samples, progress: None, needs: Needs::Nothing, accounting: Accounting::default() }
    }

    /// Begins an epoch and says what selection needs in it. Epochs are begun in their order.
    pub fn start_epoch(&mut self, progress: Progress) -> Result<Needs, SelectionError> {
        if progress.epoch >= progress.epochs {
            return Err(epoch(progress, "started"));
        }
        self.progress = Some(progress);
        self.needs = self.policy.start_epoch(progress);
        Ok(self.needs)
    }

    /// What selection needs in this epoch.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// Appends the selected of `candidates` to `selected`, in their order. A sample is a candidate once in an epoch.
    ///
    /// `fresh` has an observation for each candidate where the epoch needs [`Needs::Fresh`] (the caller then ran a
    /// forward pass for them, which is counted), and is empty otherwise. Some chunks may have nothing selected.
    pub fn select(
        &mut self,
        candidates: &[usize],
        fresh: &[Observation],
        selected: &mut Vec<Selected>,
    ) -> Result<(), SelectionError> {
        if self.progress.is_none() {
            return Err(epoch(Progress { epoch: 0, epochs: 0 }, "selected in"));
        }
        let scores = if self.needs == Needs::Fresh { candidates.len() } else { 0 };
        self.check(candidates)?;
        if fresh.len() != scores {
            return Err(SelectionError::Scores { ids: scores, scores: fresh.len() });
        }
        let before = selected.len();
        self.policy.select(candidates, fresh, selected);
        let new = &selected[before..];
        self.accounting.candidates += candidates.len() as u64;
        self.accounting.selected += new.len() as u64;
        self.accounting.scored += fresh.len() as u64;
        self.accounting.forced += new.iter().filter(|sample| sample.forced).count() as u64;
        self.accounting.non_finite += non_finite(fresh);
        self.accounting.threshold = self.policy.threshold();
        Ok(())
    }

    /// Records the observations of the samples `ids`: their losses before this step, without weights.
    pub fn observe(&mut self, ids: &[usize], observations: &[Observation]) -> Result<(), SelectionError> {
        self.check(ids)?;
        if ids.len() != observations.len() {
            return Err(SelectionError::Scores { ids: ids.len(), scores: observations.len() });
        }
        self.policy.observe(ids, observations);
        self.accounting.non_finite += non_finite(observations);
        Ok(())
    }

    /// What was selected so far, and what it cost.
    pub fn accounting(&self) -> Accounting {
        self.accounting
    }

    /// The state. A selector that [`restore`](Self::restore)s it selects the same samples from there on.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            policy: self.policy.name().to_owned(),
            samples: self.samples,
            progress: self.progress,
            accounting: self.accounting,
            ..Snapshot::default()
        };
        snapshot.put("needs", f64::from(self.needs as u8));
        self.policy.save(&mut snapshot);
        snapshot
    }

    /// Restores a snapshot, taken at any point between two calls. After an error the selector is unusable.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), SelectionError> {
        let fits = snapshot.policy == self.policy.name() && snapshot.samples == self.samples;
        if !fits {
            let of = |policy: &str, samples| format!("{policy} over {samples} samples");
            return Err(snapshot_error(
                &of(&snapshot.policy, snapshot.samples),
                &of(self.policy.name(), self.samples),
            ));
        }
        self.needs = match snapshot.number("needs")? {
            0.0 => Needs::Nothing,
            1.0 => Needs::Remembered,
            2.0 => Needs::Fresh,
            other => return Err(snapshot_error(&format!("needs = {other}"), "0, 1 or 2")),
        };
        self.policy.restore(snapshot)?;
        self.progress = snapshot.progress;
        self.accounting = snapshot.accounting;
        Ok(())
    }

    fn check(&self, ids: &[usize]) -> Result<(), SelectionError> {
        match ids.iter().find(|id| **id >= self.samples) {
            Some(&id) => Err(SelectionError::UnknownSample { id, samples: self.samples }),
            None => Ok(()),
        }
    }
}

fn epoch(progress: Progress, action: &'static str) -> SelectionError {
    SelectionError::Epoch { epoch: progress.epoch, epochs: progress.epochs, action }
}

/// An entropy is not needed everywhere: a loss alone counts.
fn non_finite(observations: &[Observation]) -> u64 {
    observations.iter().filter(|observation| !observation.loss.is_finite()).count() as u64
}
