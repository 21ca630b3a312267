//! Who answers what electricity emits now: the figure of the hour, or the bundled one.

#[cfg(feature = "online")]
use std::sync::Arc;

use super::{Grid, Place, figure};
#[cfg(feature = "online")]
use super::{LiveConfig, live::Live};

/// Answers with the carbon intensity of one place, as it is now.
#[derive(Clone, Debug)]
pub struct GridSource {
    yearly: Grid,
    #[cfg(feature = "online")]
    live: Option<Arc<Live>>,
}

impl GridSource {
    /// The bundled yearly figure.
    pub fn yearly(place: &Place) -> Self {
        Self {
            yearly: figure::yearly(place),
            #[cfg(feature = "online")]
            live: None,
        }
    }

    /// The figure of the hour, fetched in a thread of its own until the last clone is dropped; the bundled one where there
    /// is none, with a note why.
    #[cfg(feature = "online")]
    pub fn live(place: &Place, config: LiveConfig) -> Self {
        let live = Live::start(place, config);
        Self { yearly: figure::yearly(place), live: Some(Arc::new(live)) }
    }

    /// The last known figure. Does not wait for anything.
    pub fn now(&self) -> Grid {
        #[cfg(feature = "online")]
        if let Some(live) = &self.live {
            return live.now(&self.yearly);
        }
        self.yearly.clone()
    }
}
