//! Files that a project's settings, a run's manifest or a model's folder name.

use std::{fs, path::Path};

use greentune_core_config::{
    manifest::RunManifest,
    resolve::{Resolved, Source},
};

use super::Access;
use crate::{Result, Workbench};

impl Workbench {
    /// Refuses paths in settings that somebody else than the user set and that may not be used.
    pub(crate) fn check_setting_files(&self, resolved: &Resolved) -> Result<()> {
        let carbon = &resolved.settings.carbon;
        let files = [
            ("carbon.calibration_file", &carbon.calibration_file),
            ("carbon.equivalences_file", &carbon.equivalences_file),
        ];
        for (key, path) in files {
            let is_others = matches!(resolved.source(key), Source::ProjectFile { .. } | Source::RunOverride);
            if let Some(path) = path.as_deref().filter(|_| is_others && self.is_restricted()) {
                self.reach(path, path, Access::Read)?;
            }
        }
        Ok(())
    }

    /// Refuses a run whose manifest names data, a base model or settings' files that may not be used. What the user's own
    /// settings name may be.
    pub(crate) fn check_named_files(&self, manifest: &RunManifest) -> Result<()> {
        self.check_settings_files(manifest)?;
        if !self.is_restricted() {
            return Ok(());
        }
        let data = &manifest.data;
        let data = [Some(&data.train), Some(&data.validation), data.test.as_ref()]
            .into_iter()
            .chain([data.stage2_train.as_ref(), data.stage2_validation.as_ref()]);
        for path in data.flatten() {
            self.reach(path, path, Access::Read)?;
        }
        let models = [&manifest.base_model_path].into_iter().chain(&manifest.settings.vision.pretrained);
        for path in models.filter(|path| !path.as_os_str().is_empty()) {
            self.check_base_folder(path)?;
        }
        // Their content is hashed, and what of the hash changed is said.
        manifest.input_hashes.keys().try_for_each(|path| self.check_model_file(Path::new(path)))
    }

    /// Refuses a run whose settings name files that may not be used. What the user's own settings name may be.
    pub(crate) fn check_settings_files(&self, manifest: &RunManifest) -> Result<()> {
        if !self.is_restricted() {
            return Ok(());
        }
        let carbon = &manifest.settings.carbon;
        let own = self.user_settings()?.settings.carbon;
        let of_settings = [
            (&carbon.calibration_file, &own.calibration_file),
            (&carbon.equivalences_file, &own.equivalences_file),
        ];
        let of_settings = of_settings.into_iter().filter(|(path, own)| path != own);
        let of_settings = of_settings.filter_map(|(path, _)| path.as_deref());
        for path in of_settings {
            self.reach(path, path, Access::Read)?;
        }
        Ok(())
    }

    /// Refuses the folder or file of a base model, or files in it, that may not be used. The cache of the Hub is no
    /// request's choice.
    pub(crate) fn check_base_folder(&self, folder: &Path) -> Result<()> {
        if !self.is_restricted() {
            return Ok(());
        }
        self.check_model_file(folder)?;
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let others =
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file() && !kind.is_dir()));
        others.map(|entry| entry.path()).try_for_each(|link| self.check_model_file(&link))
    }

    fn check_model_file(&self, path: &Path) -> Result<()> {
        let cache = fs::canonicalize(&self.config().hub.cache).ok();
        let resolved = fs::canonicalize(path).ok();
        if cache.zip(resolved).is_some_and(|(cache, resolved)| resolved.starts_with(cache)) {
            return Ok(());
        }
        self.reach(path, path, Access::Read).map(drop)
    }
}
