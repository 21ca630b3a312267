//! What the fuzz targets share: a folder to put files into, and a model to read records with.

use std::{
    cell::OnceCell,
    env, fs, panic,
    path::{Path, PathBuf},
    process,
};

use greentune_core_config::settings::Settings;
use greentune_text_data::{Dataset, Encoder};
use jiff::Timestamp;

/// A folder of this process below `TMPDIR`, in which a target puts the files that it has read.
pub struct Scratch(PathBuf);

impl Scratch {
    /// The folder, empty.
    pub fn new() -> Self {
        let folder = env::temp_dir().join(format!("greentune-fuzz-{}", process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for files");
        Self(folder)
    }

    /// The path of `name` in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes the file `name`, whose folders are made.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder around it")).expect("folders");
        fs::write(&path, bytes).expect("a written file");
        path
    }

    /// Copies the file `from` of the repository's `fixtures` to `name`.
    pub fn copy(&self, from: &str, name: &str) -> PathBuf {
        self.write(name, &fs::read(fixture(from)).expect("a fixture"))
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A file or folder of the repository's `fixtures`, or of their copy that `GREENTUNE_FIXTURES` names.
pub fn fixture(path: &str) -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    env::var_os("GREENTUNE_FIXTURES").map_or_else(own, PathBuf::from).join(path)
}

/// Lets panics that the product catches pass: decoders of other authors run behind `catch_unwind`. A panic that nobody
/// catches still ends the target, without a message.
pub fn allow_caught_panics() {
    panic::set_hook(Box::new(|_| {}));
}

/// Reads a file of records as training does, every example to its end.
pub fn read_records(path: &Path, settings: &Settings, encoder: &Encoder, scratch: &Scratch) {
    let Ok(dataset) = Dataset::load(path, settings, encoder, &scratch.path("spill")) else { return };
    let _ = dataset.warning();
    for example in dataset.examples.iter() {
        let example = example.expect("an example that was kept");
        assert!(example.tokens.len() <= encoder.context_length(), "longer than the context");
        assert!(!example.labels.is_empty(), "nothing to learn");
    }
}

/// Settings under which a target reads records: a context of 128 tokens.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.training.max_seq_length = 128;
    settings
}

thread_local! {
    static ENCODERS: [OnceCell<Encoder>; 2] = const { [OnceCell::new(), OnceCell::new()] };
}

/// Calls `with` with an encoder: the small base model of the repository with a chat template, or one that renders
/// instructions into plain text.
pub fn with_encoder<T>(with_chat_template: bool, with: impl FnOnce(&Encoder) -> T) -> T {
    let folder = if with_chat_template { "reference/olmo2-tiny" } else { "base-model" };
    let made = || Encoder::new(&fixture(folder), &settings(), Timestamp::UNIX_EPOCH).expect("a fixture");
    ENCODERS.with(|encoders| with(encoders[usize::from(with_chat_template)].get_or_init(made)))
}
