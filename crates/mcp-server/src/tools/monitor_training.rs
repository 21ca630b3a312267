//! The tool `monitor_training`.

use greentune_workbench::{
    Result, Workbench,
    operation::{MonitorTraining, MonitorTrainingResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::{duration, figure},
};

impl Operation for MonitorTraining {
    type Response = MonitorTrainingResponse;

    const NAME: &'static str = "monitor_training";
    const TITLE: &'static str = "Monitor a job";
    const DESCRIPTION: &'static str = "How far a job is: epoch, accuracy, loss, share of samples trained on, arithmetic saved, \
         minutes to go.";
    const EFFECT: Effect = Effect::Reads;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.monitor_training(self).await
    }

    fn text(response: &Self::Response) -> String {
        let parts = [
            response.epoch.map(|epoch| format!("epoch {}", figure(epoch))),
            response.accuracy.map(|accuracy| format!("accuracy {:.1} %", 100.0 * accuracy)),
            response.loss.map(|loss| format!("loss {}", figure(loss))),
            response.activation_rate.map(|rate| format!("trains on {:.1} %", 100.0 * rate)),
            response
                .energy_savings
                .map(|savings| format!("{:.1} % of the arithmetic saved", 100.0 * savings)),
            response.eta_minutes.map(|minutes| format!("about {} to go", duration(60.0 * minutes))),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        format!("The job {} is {}. {}", response.job_id, response.status, parts.join(", "))
    }
}
