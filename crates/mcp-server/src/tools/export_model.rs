//! The tool `export_model`.

use greentune_workbench::{
    Result, Workbench,
    operation::{ExportModel, ExportModelResponse},
};

use crate::{
    operation::{Effect, Operation},
    progress::Progress,
    wording::figure,
};

impl Operation for ExportModel {
    type Response = ExportModelResponse;

    const NAME: &'static str = "export_model";
    const TITLE: &'static str = "Export a model";
    const DESCRIPTION: &'static str = "Writes a trained stage as a PEFT adapter, or merged into the base model, for other \
        programs to load.";
    const EFFECT: Effect = Effect::Adds;

    async fn perform(self, workbench: &Workbench, _progress: Option<Progress>) -> Result<Self::Response> {
        workbench.export_model(self).await
    }

    fn text(response: &Self::Response) -> String {
        format!(
            "Wrote {} MB in the format {} to {}.\n{}",
            figure(response.model_size_mb),
            response.export_format,
            response.export_path.display(),
            response.usage_instructions
        )
    }
}
