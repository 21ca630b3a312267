//! The runs that were looked at last, so that a look at one of them costs only what is new.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use greentune_core_config::layout::RunLayout;
use greentune_run_folder::{Liveness, RunView};

use crate::Result;

/// Views that are kept at most; a run that is looked at again after more others is opened anew.
const KEPT: usize = 64;

/// Views by the run's folder. A view that failed, or whose reader panicked, is opened anew.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<HashMap<PathBuf, Arc<Mutex<RunView>>>>);

impl Views {
    /// Brings the view of the run at `layout` up to date and hands it to `of`.
    pub(crate) fn with<T>(
        &self,
        layout: &RunLayout,
        liveness: &dyn Liveness,
        of: impl FnOnce(&RunView) -> T,
    ) -> Result<T> {
        if let Some(view) = self.known(layout) {
            // Others may look at other runs meanwhile.
            if let Ok(mut view) = view.lock()
                && view.refresh(liveness).is_ok()
            {
                return Ok(of(&view));
            }
            self.forget(layout);
        }
        let view = RunView::open(layout.clone(), liveness)?;
        let seen = of(&view);
        self.keep(layout, view);
        Ok(seen)
    }

    fn known(&self, layout: &RunLayout) -> Option<Arc<Mutex<RunView>>> {
        self.map(|views| views.get(layout.folder()).map(Arc::clone))
    }

    fn keep(&self, layout: &RunLayout, view: RunView) {
        self.map(|views| {
            if views.len() >= KEPT {
                views.clear();
            }
            views.insert(layout.folder().to_owned(), Arc::new(Mutex::new(view)));
        });
    }

    /// Forgets the view of the run at `layout`.
    fn forget(&self, layout: &RunLayout) {
        self.map(|views| {
            views.remove(layout.folder());
        });
    }

    fn map<T>(&self, of: impl FnOnce(&mut HashMap<PathBuf, Arc<Mutex<RunView>>>) -> T) -> T {
        of(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
