//! Ports: what one room needs of another without knowing it.

use crate::{event::EventKind, problem::Problem};

/// What a trainer tells, and asks, while a run is trained. The worker implements it over the run's folder.
pub trait RunReporter: Send {
    /// Appends an event. An error means that it could not be written (disk full): the trainer must stop.
    fn report(&mut self, event: EventKind) -> Result<(), Problem>;
    /// Whether somebody asked for the run to end; checked at every step boundary.
    fn cancel_requested(&self) -> bool;
}
