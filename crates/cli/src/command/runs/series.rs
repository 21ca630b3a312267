//! `greentune runs series`: the course of a run's figures, for scripts and spreadsheets.

use clap::Args;
use greentune_workbench::operation::{GetSeries, GetSeriesResponse};

use crate::{failure::Failure, session::Session};

/// Arguments of `runs series`.
#[derive(Args, Debug)]
pub struct Series {
    /// The run: its id, its name or the beginning of one
    run: String,
    /// Figures, such as train_loss,power_w [default: all that the run has]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    names: Vec<String>,
    /// Buckets of each figure at most, up to 4000 [default: 500]
    #[arg(long, value_name = "N")]
    points: Option<u64>,
    /// First step, counted over all stages
    #[arg(long, value_name = "STEP")]
    from: Option<u64>,
    /// Last step
    #[arg(long, value_name = "STEP")]
    to: Option<u64>,
    /// Only values of events after this number
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
}

impl Series {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self { run, names, points, from, to, after } = self;
        let request =
            GetSeries { project_path: session.project(), run_id: run, names, points, from, to, after };
        let response = session.workbench()?.get_series(request).await?;
        session.output.answer(&response, |_| csv(&response))
    }
}

/// A line for each bucket.
fn csv(response: &GetSeriesResponse) -> String {
    let mut lines = vec![String::from("figure,step,seconds,mean,min,max,count")];
    for (name, buckets) in &response.series {
        lines.extend((0..buckets.x.len()).map(|index| {
            format!(
                "{name},{},{},{},{},{},{}",
                buckets.x[index],
                buckets.time[index],
                buckets.mean[index],
                buckets.min[index],
                buckets.max[index],
                buckets.count[index]
            )
        }));
    }
    lines.join("\n")
}
