//! Adapters written in PEFT's layout, one projection after the other.

use std::{borrow::Cow, fs, io::Write, path::Path};

use greentune_model_folder::{FloatType, encode_header};
use safetensors::Dtype;

use super::{AdapterConfig, CONFIG_FILE, LoraPair, WEIGHTS_FILE, a_key, b_key, magnitude_key};
use crate::error::ExportError;

/// The sizes of an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PairShape {
    /// The projection.
    pub(crate) module: String,
    pub(crate) rank: usize,
    pub(crate) in_features: usize,
    pub(crate) out_features: usize,
    /// Whether it has a magnitude (DoRA).
    pub(crate) has_magnitude: bool,
}

/// Adapters that were written in another layout, as a reader of that layout has them, in PEFT's terms.
pub(crate) trait WrittenAdapters {
    /// What PEFT's configuration of them would be.
    fn config(&self) -> AdapterConfig;

    /// Their sizes, in any order.
    fn shapes(&self) -> Vec<PairShape>;

    /// The matrices of one of them.
    fn pair(&mut self, shape: &PairShape) -> Result<LoraPair, ExportError>;
}

/// Writes `pairs` as PEFT does: F32, metadata `format=pt`. The folder is created when missing; each file appears
/// whole or not at all, the configuration last.
pub fn write(folder: &Path, config: &AdapterConfig, pairs: &[LoraPair]) -> Result<(), ExportError> {
    fs::create_dir_all(folder).map_err(ExportError::io("create", folder))?;
    let shapes: Vec<PairShape> = pairs.iter().map(PairShape::of).collect();
    let mut next = pairs.iter();
    write_each(folder, config, &shapes, |_| Ok(next.next().map(Cow::Borrowed)))
}

/// Writes `adapters` as PEFT does into the `folder`, holding one projection at a time.
pub(crate) fn write_copy(folder: &Path, adapters: &mut dyn WrittenAdapters) -> Result<(), ExportError> {
    let (config, shapes) = (adapters.config(), adapters.shapes());
    write_each(folder, &config, &shapes, |shape| adapters.pair(shape).map(Cow::Owned).map(Some))
}

fn write_each<'a>(
    folder: &Path,
    config: &AdapterConfig,
    shapes: &[PairShape],
    mut pair_of: impl FnMut(&PairShape) -> Result<Option<Cow<'a, LoraPair>>, ExportError>,
) -> Result<(), ExportError> {
    let path = folder.join(WEIGHTS_FILE);
    let broken = |path: &Path, reason| ExportError::Broken { path: path.into(), reason };
    let described: Vec<(String, Vec<usize>)> = shapes.iter().flat_map(PairShape::tensors).collect();
    let header =
        encode_header(described.iter().map(|(name, shape)| (name.as_str(), Dtype::F32, &shape[..])), "pt")
            .map_err(|reason| broken(&path, reason))?;
    write_atomically(&path, |file| {
        let mut append = |bytes: &[u8]| file.write_all(bytes).map_err(ExportError::io("write", &path));
        append(&header)?;
        for shape in shapes {
            let Some(pair) = pair_of(shape)? else { continue };
            let values = [Some(&pair.a), Some(&pair.b), pair.magnitude.as_ref()];
            for ((name, shape), values) in shape.tensors().zip(values.into_iter().flatten()) {
                if shape.iter().product::<usize>() != values.len() {
                    let reason = format!("\"{name}\" does not have the {shape:?} values that it should have");
                    return Err(broken(&path, reason));
                }
                let mut bytes = vec![0; values.len() * FloatType::F32.size()];
                FloatType::F32.encode(values, &mut bytes);
                append(&bytes)?;
            }
        }
        Ok(())
    })?;
    let path = folder.join(CONFIG_FILE);
    let json = serde_json::to_vec_pretty(config).map_err(|error| broken(&path, error.to_string()))?;
    write_atomically(&path, |file| file.write_all(&json).map_err(ExportError::io("write", &path)))
}

impl PairShape {
    fn of(pair: &LoraPair) -> Self {
        Self {
            module: pair.module.clone(),
            rank: pair.rank,
            in_features: pair.in_features,
            out_features: pair.out_features,
            has_magnitude: pair.magnitude.is_some(),
        }
    }

    /// How many values it has.
    pub(crate) fn values(&self) -> usize {
        self.tensors().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Its tensors in PEFT's layout, A before B before the magnitude.
    fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> + use<> {
        let a = (a_key(&self.module), vec![self.rank, self.in_features]);
        let b = (b_key(&self.module), vec![self.out_features, self.rank]);
        let magnitude = self.has_magnitude.then(|| (magnitude_key(&self.module), vec![self.out_features]));
        [a, b].into_iter().chain(magnitude)
    }
}

fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut fs::File) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; the umask decides about these.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(ExportError::io("write", path))?;
    write(file.as_file_mut())?;
    file.as_file().sync_all().map_err(ExportError::io("write", path))?;
    file.persist(path).map_err(|error| ExportError::io("write", path)(error.error))?;
    Ok(())
}
