//! What of a request its user should agree to when somebody else asks for it: what is published, what is replaced.

use super::{Consent, CreateModelCard, ExportModel, PrepareDataset, SyncModel};

pub(super) fn sync_model(request: &SyncModel) -> Option<Consent> {
    if request.dry_run == Some(true) {
        return None;
    }
    let folder = request.model_path.display();
    Some(uploads(&format!("the model in {folder}"), &request.hf_repo, request.hf_public))
}

pub(super) fn export_model(request: &ExportModel) -> Option<Consent> {
    let (run, folder) = (&request.run_id, request.export_path.display());
    if request.upload_to_huggingface == Some(true) {
        let repository = request.hf_repo_id.as_deref().unwrap_or_default();
        return Some(uploads(&format!("an export of {run}"), repository, request.hf_public));
    }
    (request.force == Some(true)).then(|| Consent::Replaces(format!("replace the export in {folder}")))
}

pub(super) fn create_model_card(request: &CreateModelCard) -> Option<Consent> {
    let path = request.output_path.as_ref().filter(|_| request.overwrite == Some(true))?;
    Some(Consent::Replaces(format!("replace the card {}", path.display())))
}

pub(super) fn prepare_dataset(request: &PrepareDataset) -> Option<Consent> {
    (request.force == Some(true))
        .then(|| Consent::Replaces(String::from("replace the splits that were prepared before")))
}

fn uploads(what: &str, repository: &str, is_public: Option<bool>) -> Consent {
    let seen_by = match is_public {
        Some(true) => "for everybody to see",
        _ => "private unless the repository is public already",
    };
    Consent::Publishes(format!(
        "upload {what} to the repository {repository} of the Hugging Face Hub, {seen_by}"
    ))
}
