//! The course of one figure: as many buckets as there are steps, until they are too many; then each has twice the steps.

use super::Buckets;

/// Buckets that are kept of a figure.
const MOST: usize = 4096;

/// A figure at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Step of the run.
    pub x: u64,
    /// Seconds since the run began.
    pub time: f64,
    /// The figure.
    pub value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    x: u64,
    time: f64,
    sum: f64,
    min: f64,
    max: f64,
    count: u64,
    /// Place of the first event in the file.
    offset: u64,
}

impl Bucket {
    fn and(self, later: Self) -> Self {
        Self {
            sum: self.sum + later.sum,
            min: self.min.min(later.min),
            max: self.max.max(later.max),
            count: self.count + later.count,
            ..self
        }
    }
}

/// The course of one figure. Steps `k · width` to `(k + 1) · width − 1` share a bucket.
#[derive(Clone, Debug)]
pub(super) struct Course {
    width: u64,
    buckets: Vec<Bucket>,
    last: u64,
}

impl Default for Course {
    fn default() -> Self {
        Self { width: 1, buckets: Vec::new(), last: 0 }
    }
}

impl Course {
    /// Adds a value, whose event is at `offset` of the file.
    pub(super) fn push(&mut self, point: &Point, offset: u64) {
        let Point { x, time, value } = *point;
        let new = Bucket { x, time, sum: value, min: value, max: value, count: 1, offset };
        self.last = x;
        match self.buckets.last_mut() {
            Some(bucket) if bucket.x / self.width == x / self.width => *bucket = bucket.and(new),
            _ => self.buckets.push(new),
        }
        while self.buckets.len() > MOST {
            self.width *= 2;
            self.buckets = grouped(&self.buckets, self.width);
        }
    }

    /// The last step that has a value.
    pub(super) fn last(&self) -> Option<u64> {
        self.buckets.last().map(|_| self.last)
    }

    /// Takes back what lies behind step `x`; whether there was anything. A bucket that begins before it is kept whole.
    pub(super) fn cut(&mut self, x: u64) -> bool {
        let kept = self.buckets.partition_point(|bucket| bucket.x <= x);
        let is_cut = self.last > x && !self.buckets.is_empty();
        self.buckets.truncate(kept);
        self.last = self.last.min(x);
        is_cut
    }

    /// Keeps the steps `from` to `to` alone.
    pub(super) fn keep(&mut self, from: u64, to: u64) {
        self.buckets.retain(|bucket| (from..=to).contains(&bucket.x));
    }

    /// Whether the steps `from` to `to` have fewer buckets than `points`, and had more if each had fewer steps.
    pub(super) fn is_coarse(&self, from: u64, to: u64, points: usize) -> bool {
        self.width > 1 && self.between(from, to).len() < points
    }

    /// The place of the first event of the bucket that holds step `x`, or of the one before it.
    pub(super) fn place_of(&self, x: u64) -> Option<u64> {
        let behind = self.buckets.partition_point(|bucket| bucket.x <= x);
        self.buckets.get(behind.saturating_sub(1)).map(|bucket| bucket.offset)
    }

    fn between(&self, from: u64, to: u64) -> &[Bucket] {
        let first = self.buckets.partition_point(|bucket| bucket.x < from);
        let end = self.buckets.partition_point(|bucket| bucket.x <= to);
        &self.buckets[first..end.max(first)]
    }

    /// The steps `from` to `to` in at most `points` buckets.
    pub(super) fn buckets(&self, from: u64, to: u64, points: usize) -> Buckets {
        let mut asked = self.between(from, to).to_vec();
        if asked.len() > points
            && let (Some(first), Some(last)) = (asked.first(), asked.last())
        {
            // Steps that no bucket of the answer may be narrower than; a part of one may stand at both ends.
            let most = (points as u64).saturating_sub(1).max(1);
            let width = (last.x - first.x + 1).div_ceil(most).max(1);
            asked = if points == 1 { vec![whole(&asked)] } else { grouped(&asked, width) };
        }
        let mut buckets = Buckets::default();
        for bucket in asked {
            buckets.x.push(bucket.x);
            buckets.time.push(bucket.time);
            buckets.mean.push(bucket.sum / bucket.count as f64);
            buckets.min.push(bucket.min);
            buckets.max.push(bucket.max);
            buckets.count.push(bucket.count);
        }
        buckets
    }
}

fn whole(buckets: &[Bucket]) -> Bucket {
    buckets[1..].iter().fold(buckets[0], |all, later| all.and(*later))
}

/// Neighbours in buckets of `width` steps.
fn grouped(buckets: &[Bucket], width: u64) -> Vec<Bucket> {
    let neighbours = buckets.chunk_by(|one, other| one.x / width == other.x / width);
    neighbours.map(whole).collect()
}
