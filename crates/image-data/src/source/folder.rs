//! A folder of pictures per class, by the rules of torchvision's `ImageFolder`: classes are the sub-folders, sorted by
//! name; pictures may lie in folders further below.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{Found, Kind, Listing, Root, Store, file_name};
use crate::{
    decode::{Header, Image, decode, header},
    error::ImageDataError,
    part::Part,
};

const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];
const VALIDATION: [&str; 3] = ["val", "valid", "validation"];
/// A file of a picture is not larger.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Paths of pictures below a folder.
struct Files {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

pub(super) fn find(folder: &Path) -> Result<Found, ImageDataError> {
    let root = Root::of(folder)?;
    let listing = Listing::of(folder, &root)?;
    if listing.folders.is_empty() {
        let reason = "it has neither a sub-folder per class nor CIFAR, IDX or Parquet files".to_owned();
        return Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
    }
    let split = |names: &[&str]| {
        let is_named = |path: &&PathBuf| names.contains(&file_name(path).as_str());
        let mut named = listing.folders.iter().filter(is_named);
        match (named.next(), named.next()) {
            (Some(first), Some(second)) => Err(ImageDataError::NotRecognised {
                path: folder.to_owned(),
                reason: format!("{} and {} are both there", file_name(first), file_name(second)),
            }),
            (first, _) => Ok(first),
        }
    };
    let mut walk = Walk { root: &root, ignored: 0 };
    let (classes, train, validation, test) = match split(&["train"])? {
        None => {
            let classes = names(&listing.folders);
            let train = walk.part(folder, &listing.folders, &classes)?;
            (classes, train, None, None)
        }
        Some(train) => {
            let folders = Listing::of(train, &root)?.folders;
            let classes = names(&folders);
            let train = walk.part(folder, &folders, &classes)?;
            let mut other = |path: Option<&PathBuf>| match path {
                None => Ok(None),
                Some(path) => walk.part(folder, &Listing::of(path, &root)?.folders, &classes).map(Some),
            };
            let (validation, test) = (other(split(&VALIDATION)?)?, other(split(&["test"])?)?);
            (classes, train, validation, test.filter(|test| !test.is_empty()))
        }
    };
    let mut warnings = Vec::new();
    if walk.ignored > 0 {
        warnings.push(format!(
            "{} files are ignored: only those ending in {} are images",
            walk.ignored,
            EXTENSIONS.join(", ")
        ));
    }
    Ok(Found { kind: Kind::ImageFolder, classes, train, validation, test, warnings })
}

fn names(folders: &[PathBuf]) -> Vec<String> {
    folders.iter().map(|folder| file_name(folder)).collect()
}

/// Looks for pictures and counts what is none.
struct Walk<'a> {
    root: &'a Root,
    ignored: usize,
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
        for path in listing.files {
            let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            if EXTENSIONS.contains(&extension.as_str()) {
                paths.push(path.strip_prefix(folder).unwrap_or(&path).to_owned());
            } else {
                self.ignored += 1;
            }
        }
        listing.folders.iter().try_for_each(|below| self.pictures(below, folder, paths))
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
