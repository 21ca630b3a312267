//! A folder of pictures per class, by the rules of torchvision's `ImageFolder`: classes are the sub-folders, sorted by
//! name; pictures may lie in folders further below. Parts may lie above the classes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Found, Kind, Listing, Root, Store, file_name,
    splits::Split,
    tree::{self, Tree},
};
use crate::{
    decode::{Header, Image, decode, header},
    error::ImageDataError,
    part::Part,
};

/// Endings of pictures, as torchvision has them, and further ones for the same formats. What a file holds is told from
/// its bytes.
const EXTENSIONS: [&str; 13] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm"];
/// A file of a picture is not larger.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Endings of ignored files that are named in a warning.
const NAMED_ENDINGS: usize = 4;

/// Whether the name of `file` is that of a picture.
pub(super) fn is_picture(file: &Path) -> bool {
    EXTENSIONS.contains(&ending(file).as_str())
}

/// The extension in lower case.
fn ending(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

/// Paths of pictures below a folder.
struct Files {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

pub(super) fn find(folder: &Path) -> Result<Found, ImageDataError> {
    let root = Root::of(folder)?;
    let mut warnings = Vec::new();
    let mut walk =
        Walk { root: &root, ignored: BTreeMap::new(), of_systems: Listing::of(folder, &root)?.of_systems };
    let (mut train, mut validation, mut test) = (None, None, None);
    let classes = match tree::of(folder, &root, &mut warnings)? {
        Tree::Classes(folders) => {
            let classes = names(&folders);
            train = Some(walk.part(folder, &folders, &classes)?);
            classes
        }
        Tree::Parts(parts) => {
            let of_training = parts.iter().find(|(split, ..)| *split == Split::Train);
            // Without a training part there is only something to test on, with its own classes.
            let classes =
                of_training.or(parts.first()).map_or_else(Vec::new, |(_, _, folders)| names(folders));
            for (split, path, folders) in &parts {
                walk.of_systems += Listing::of(path, &root)?.of_systems;
                let part = Some(walk.part(folder, folders, &classes)?);
                match split {
                    Split::Train => train = part,
                    Split::Validation => validation = part,
                    Split::Test => test = part.filter(|test| !test.is_empty()),
                }
            }
            classes
        }
    };
    let train = train
        .unwrap_or_else(|| Part::new(Files { folder: folder.to_owned(), paths: Vec::new() }, Vec::new()));
    warnings.splice(0..0, walk.warning());
    Ok(Found { kind: Kind::ImageFolder, classes, train, validation, test, warnings })
}

fn names(folders: &[PathBuf]) -> Vec<String> {
    folders.iter().map(|folder| file_name(folder)).collect()
}

/// Looks for pictures and counts what is none.
struct Walk<'a> {
    root: &'a Root,
    /// Files that are no pictures, by ending.
    ignored: BTreeMap<String, usize>,
    /// Hidden entries and those that systems leave behind.
    of_systems: usize,
}

impl Walk<'_> {
    /// The pictures in folders that are called like classes.
    fn part(
        &mut self,
        folder: &Path,
        of_classes: &[PathBuf],
        classes: &[String],
    ) -> Result<Part, ImageDataError> {
        let (mut paths, mut labels) = (Vec::new(), Vec::new());
        for of_class in of_classes {
            let name = file_name(of_class);
            let Some(label) = classes.iter().position(|class| *class == name) else {
                return Err(ImageDataError::Label {
                    path: of_class.clone(),
                    sample: "every image".to_owned(),
                    label: name,
                    allowed: format!("the {} classes of the training images", classes.len()),
                });
            };
            self.pictures(of_class, folder, &mut paths)?;
            labels.resize(paths.len(), label as u32);
        }
        Ok(Part::new(Files { folder: folder.to_owned(), paths }, labels))
    }

    fn pictures(
        &mut self,
        below: &Path,
        folder: &Path,
        paths: &mut Vec<PathBuf>,
    ) -> Result<(), ImageDataError> {
        let listing = Listing::of(below, self.root)?;
        self.of_systems += listing.of_systems;
        for path in listing.files {
            if is_picture(&path) {
                paths.push(path.strip_prefix(folder).unwrap_or(&path).to_owned());
            } else {
                *self.ignored.entry(ending(&path)).or_default() += 1;
            }
        }
        listing.folders.iter().try_for_each(|below| self.pictures(below, folder, paths))
    }

    /// What was left out, in a sentence; nothing where all files are pictures and nothing is hidden.
    fn warning(&self) -> Option<String> {
        let count: usize = self.ignored.values().sum();
        let shown = |(ending, count): (&String, &usize)| match ending.as_str() {
            "" => format!("{count} without an ending"),
            ending => format!("{count} .{ending}"),
        };
        let mut endings: Vec<String> = self.ignored.iter().take(NAMED_ENDINGS).map(shown).collect();
        if self.ignored.len() > NAMED_ENDINGS {
            endings.push(String::from("…"));
        }
        let files = (count > 0).then(|| {
            format!(
                "{count} files are ignored ({}): only those ending in {} are images",
                endings.join(", "),
                EXTENSIONS.join(", ")
            )
        });
        let of_systems = (self.of_systems > 0).then(|| {
            format!(
                "{} hidden or system entries are ignored (such as .DS_Store, Thumbs.db, __MACOSX)",
                self.of_systems
            )
        });
        let both: Vec<String> = files.into_iter().chain(of_systems).collect();
        (!both.is_empty()).then(|| both.join("; "))
    }
}

impl Files {
    fn read(&self, row: u32) -> Result<Vec<u8>, String> {
        let file =
            File::open(self.folder.join(&self.paths[row as usize])).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
        }
        Ok(bytes)
    }
}

impl Store for Files {
    fn image(&self, row: u32) -> Result<Image<'_>, String> {
        decode(&self.read(row)?)
    }

    fn header(&self, row: u32) -> Result<Header, String> {
        header(&self.read(row)?)
    }

    fn name(&self, row: u32) -> String {
        self.paths[row as usize].display().to_string()
    }
}
