//! The folders of an image folder: which are classes, which are parts of the data set, and what is refused because it
//! cannot be told.

use std::path::{Path, PathBuf};

use super::{
    Listing, Root, file_name,
    folder::is_picture,
    splits::{Naming, Split},
};
use crate::error::ImageDataError;

/// Folders between a part and its classes are called like this.
const CONTAINERS: [&str; 4] = ["images", "imgs", "data", "pictures"];

/// What the folders of a data set are.
#[derive(Debug)]
pub(super) enum Tree {
    /// Folders of classes.
    Classes(Vec<PathBuf>),
    /// Folders of parts, each with the folders of its classes.
    Parts(Vec<(Split, PathBuf, Vec<PathBuf>)>),
}

/// A folder beside others at the top of a data set.
struct Candidate {
    path: PathBuf,
    naming: Option<Naming>,
    /// Folders in it.
    folders: Vec<PathBuf>,
    has_pictures_itself: bool,
    has_pictures_below: bool,
}

impl Candidate {
    fn holds_pictures(&self) -> bool {
        self.has_pictures_itself || self.has_pictures_below
    }

    /// Whether it can only be a part: there are classes in it.
    fn is_part(&self) -> bool {
        self.naming.is_some() && self.has_pictures_below && !self.has_pictures_itself
    }
}

/// What the sub-folders of `folder` are; warnings go to `warnings`.
pub(super) fn of(folder: &Path, root: &Root, warnings: &mut Vec<String>) -> Result<Tree, ImageDataError> {
    let listing = Listing::of(folder, root)?;
    if listing.folders.is_empty() {
        let reason = "it has neither a sub-folder per class nor CIFAR, IDX or Parquet files".to_owned();
        return Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
    }
    if let [only] = listing.folders.as_slice()
        && Naming::of(&file_name(only)).is_none()
        && listing.files.iter().all(|file| !is_picture(file))
        && has_parts(only, root)?
    {
        return of(only, root, warnings);
    }
    let candidates = listing.folders.into_iter().map(|path| candidate(path, root));
    let candidates = candidates.collect::<Result<Vec<_>, _>>()?;
    let shows_parts = |one: &Candidate| {
        one.is_part() && matches!(one.naming, Some(Naming::Exact(_) | Naming::Among(Split::Train)))
    };
    if candidates.iter().any(shows_parts) {
        return parts(folder, &candidates, root, warnings);
    }
    if candidates.iter().filter(|one| one.holds_pictures()).all(|one| one.naming.is_some())
        && candidates.iter().any(|one| one.naming.is_some())
    {
        let reason = format!(
            "{} have no sub-folder per class; if they are classes themselves, rename them, because parts of data sets \
             are called like that",
            names(candidates.iter())
        );
        return Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
    }
    let of_parts: Vec<&Candidate> = candidates.iter().filter(|one| one.naming.is_some()).collect();
    if !of_parts.is_empty() {
        warnings.push(format!(
            "{} are taken for classes, although parts of data sets are called like that: their images lie in them \
             without a folder per class, and other classes lie beside them",
            names(of_parts.into_iter())
        ));
    }
    let classes: Vec<PathBuf> = candidates.into_iter().map(|one| one.path).collect();
    refuse_parts_in_classes(folder, &classes, None, root)?;
    Ok(Tree::Classes(classes))
}

/// The parts among `candidates`. A folder with images that is none is refused by name.
fn parts(
    folder: &Path,
    candidates: &[Candidate],
    root: &Root,
    warnings: &mut Vec<String>,
) -> Result<Tree, ImageDataError> {
    let refuse = |reason| Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
    let is_unclear = |one: &&Candidate| one.naming.is_none() && one.holds_pictures();
    if candidates.iter().any(|one| is_unclear(&one)) {
        return refuse(format!(
            "{} are parts of a data set, and {} beside them hold images too: it cannot be told whether they are classes \
             or further parts; move them away, or the parts",
            names(candidates.iter().filter(|one| one.is_part())),
            names(candidates.iter().filter(is_unclear)),
        ));
    }
    let mut found = Vec::new();
    for split in Split::ALL {
        let is_it = |one: &&Candidate| one.naming.map(Naming::split) == Some(split);
        let exact = |one: &&Candidate| matches!(one.naming, Some(Naming::Exact(_))) || one.holds_pictures();
        let named: Vec<&Candidate> = candidates.iter().filter(is_it).filter(exact).collect();
        let part = match named.as_slice() {
            [] => continue,
            [part] => part,
            several => {
                let both = names(several.iter().copied());
                return refuse(format!("{both} are both there, each the {} part by its name", split.name()));
            }
        };
        if part.has_pictures_itself && !part.has_pictures_below {
            warnings.push(format!(
                "{} holds images without a folder per class: they are not used",
                file_name(&part.path)
            ));
            continue;
        }
        let classes = classes_of(part, split, root)?;
        refuse_parts_in_classes(&part.path, &classes, Some(split), root)?;
        found.push((split, part.path.clone(), classes));
    }
    Ok(Tree::Parts(found))
}

/// The folders of the classes of a part, below folders such as the inner one of `seg_train/seg_train`.
fn classes_of(part: &Candidate, split: Split, root: &Root) -> Result<Vec<PathBuf>, ImageDataError> {
    let mut folders = part.folders.clone();
    while let [only] = folders.as_slice() {
        let name = file_name(only);
        let is_container = CONTAINERS.contains(&name.to_lowercase().as_str())
            || Naming::of(&name).is_some_and(|naming| naming.split() == split);
        let inner = candidate(only.clone(), root)?;
        if !is_container || inner.has_pictures_itself || inner.folders.is_empty() {
            break;
        }
        folders = inner.folders;
    }
    Ok(folders)
}

/// Refuses classes that hold parts: their images would be mixed.
fn refuse_parts_in_classes(
    folder: &Path,
    classes: &[PathBuf],
    within: Option<Split>,
    root: &Root,
) -> Result<(), ImageDataError> {
    for class in classes {
        let inner = Listing::of(class, root)?.folders;
        let is_part = |path: &&PathBuf| match Naming::of(&file_name(path)) {
            Some(Naming::Exact(split)) => within != Some(split),
            _ => false,
        };
        if let Some(part) = inner.iter().find(is_part) {
            let (class, part) = (file_name(class), file_name(part));
            let reason = format!(
                "the folder {class} holds a part, {class}/{part}; parts belong above the classes: {part}/{class}"
            );
            return Err(ImageDataError::NotRecognised { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

/// Whether `folder` holds parts with classes.
fn has_parts(folder: &Path, root: &Root) -> Result<bool, ImageDataError> {
    for path in Listing::of(folder, root)?.folders {
        if Naming::of(&file_name(&path)).is_some() && candidate(path, root)?.is_part() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn candidate(path: PathBuf, root: &Root) -> Result<Candidate, ImageDataError> {
    let listing = Listing::of(&path, root)?;
    let mut has_pictures_below = false;
    for folder in &listing.folders {
        has_pictures_below = has_pictures_below || any_picture(folder, root)?;
    }
    Ok(Candidate {
        naming: Naming::of(&file_name(&path)),
        has_pictures_itself: listing.files.iter().any(|file| is_picture(file)),
        has_pictures_below,
        folders: listing.folders,
        path,
    })
}

/// Whether there is a picture in `folder` or below it.
fn any_picture(folder: &Path, root: &Root) -> Result<bool, ImageDataError> {
    let listing = Listing::of(folder, root)?;
    if listing.files.iter().any(|file| is_picture(file)) {
        return Ok(true);
    }
    for folder in &listing.folders {
        if any_picture(folder, root)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn names<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> String {
    candidates.map(|one| file_name(&one.path)).collect::<Vec<_>>().join(", ")
}
