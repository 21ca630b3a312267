//! Whether a picture's mirror image still shows its class: by the names of the classes, else asked of the data
//! themselves.

use crate::{
    augment::Augmentation,
    dataset::ImageDataset,
    error::ImageDataError,
    normalise::Normalisation,
    part::Part,
    random::{Purpose, Random},
    render::{Pipeline, Renderer, View},
};

/// Side to which pictures are made small before they are compared.
const SIDE: u32 = 16;
/// Pictures that are looked at, at most.
const SAMPLE: usize = 800;
/// Fewer pictures say nothing.
const LEAST: usize = 40;
/// A smaller loss of accuracy is no reason, however certain it is.
const LEAST_LOSS: f64 = 0.03;

/// Why training images are not to be mirrored, in words; nothing where mirroring is harmless.
pub fn reason_against_mirroring(dataset: &ImageDataset, seed: u64) -> Result<Option<String>, ImageDataError> {
    let classes = &dataset.classes;
    let shown = || classes.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if classes.iter().filter(|name| is_character(name)).count() * 5 >= classes.len() * 4 {
        return Ok(Some(format!("its classes ({}, …) are digits or letters", shown())));
    }
    if let Some(name) = classes.iter().find(|name| words(name).any(|word| SIDES.contains(&word.as_str()))) {
        return Ok(Some(format!("its class {name} tells left from right")));
    }
    let test = test_mirroring(&dataset.train, classes.len(), seed)?.filter(|test| test.changes_classes);
    Ok(test.map(|test| {
        format!(
            "mirror images are told by their class's mean in {:.0} % of {} cases, the images themselves in {:.0} %",
            100.0 * test.mirrored_accuracy,
            test.tested,
            100.0 * test.accuracy
        )
    }))
}

/// Words that tell left from right.
const SIDES: [&str; 5] = ["left", "right", "clockwise", "anticlockwise", "counterclockwise"];
/// Words that stand beside a character in the name of its class.
const BESIDE: [&str; 8] = ["digit", "number", "letter", "char", "character", "upper", "lower", "class"];
const NUMBERS: [&str; 10] = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];

/// Whether a class of this name shows one digit or letter.
fn is_character(name: &str) -> bool {
    let mut words = words(name).filter(|word| !BESIDE.contains(&word.as_str()));
    match (words.next(), words.next()) {
        (Some(word), None) => word.chars().count() == 1 || NUMBERS.contains(&word.as_str()),
        _ => false,
    }
}

fn words(name: &str) -> impl Iterator<Item = String> {
    name.to_lowercase()
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect::<Vec<_>>()
        .into_iter()
}

/// What mirroring does to the classes of a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MirrorTest {
    /// Pictures that were classified.
    pub tested: usize,
    /// Share of them that was told right.
    pub accuracy: f64,
    /// Share of their mirror images that was told right.
    pub mirrored_accuracy: f64,
    /// Whether mirror images are told worse than chance explains: two standard deviations of McNemar's test, and three
    /// points of accuracy.
    pub changes_classes: bool,
}

/// Classifies pictures, and their mirror images, by the nearest mean of a class. The means are those of one half of a
/// sample of `part`, the other half is classified. Nothing when there are too few pictures to tell.
///
/// A network learns more than means do, but the test is about the data: where left and right matter (digits, letters,
/// arrows), mirror images lie far from their own class.
pub fn test_mirroring(part: &Part, classes: usize, seed: u64) -> Result<Option<MirrorTest>, ImageDataError> {
    let (values, labels) = small(part, seed)?;
    if labels.len() < LEAST {
        return Ok(None);
    }
    let width = values.len() / labels.len();
    let pictures: Vec<(&[f32], usize)> =
        values.chunks_exact(width).zip(labels.iter().map(|label| *label as usize)).collect();
    let (to_learn, to_test) = pictures.split_at(pictures.len() / 2);
    let means = means(to_learn, classes, width);
    // Pictures of classes without a mean cannot be told.
    let to_test: Vec<_> = to_test.iter().filter(|(_, label)| means[*label].is_some()).collect();
    let (mut right, mut mirrored_right, mut lost, mut won) = (0_u32, 0_u32, 0_u32, 0_u32);
    for (picture, label) in &to_test {
        let told = nearest(&means, picture) == Some(*label);
        let mirror_told = nearest(&means, &mirrored(picture)) == Some(*label);
        right += u32::from(told);
        mirrored_right += u32::from(mirror_told);
        lost += u32::from(told && !mirror_told);
        won += u32::from(!told && mirror_told);
    }
    let tested = to_test.len();
    if tested < LEAST / 2 {
        return Ok(None);
    }
    let difference = f64::from(lost) - f64::from(won);
    let is_certain = difference > 2.0 * f64::from(lost + won).sqrt();
    Ok(Some(MirrorTest {
        tested,
        accuracy: f64::from(right) / tested as f64,
        mirrored_accuracy: f64::from(mirrored_right) / tested as f64,
        changes_classes: is_certain && difference / tested as f64 >= LEAST_LOSS,
    }))
}

/// A sample of the pictures, grey and small, one after another, with their labels. Those that cannot be read are left
/// out.
fn small(part: &Part, seed: u64) -> Result<(Vec<f32>, Vec<u32>), ImageDataError> {
    let pipeline = Pipeline {
        height: SIDE,
        width: SIDE,
        channels: 1,
        crop_fraction: 1.0,
        augmentation: Augmentation::NONE,
        normalisation: Normalisation::none(1),
        seed,
    };
    let mut renderer = Renderer::new(&pipeline)?;
    let mut ids: Vec<u32> = (0..part.len() as u32).collect();
    Random::new(Purpose::Statistics, seed, 1, 0).choose(&mut ids, SAMPLE);
    ids.truncate(SAMPLE);
    let (mut all, mut labels) = (Vec::new(), Vec::new());
    let mut values = vec![0.0; pipeline.values()];
    for id in ids {
        let image = part.image(id);
        let rendered = image
            .and_then(|image| part.named(id, renderer.render(&image, View::Evaluate, 0, id, &mut values)));
        if rendered.is_ok() {
            all.extend_from_slice(&values);
            labels.push(part.labels()[id as usize]);
        }
    }
    Ok((all, labels))
}

/// By class, the mean of its pictures; none of a class without any.
fn means(pictures: &[(&[f32], usize)], classes: usize, width: usize) -> Vec<Option<Vec<f32>>> {
    let mut sums = vec![(vec![0.0_f32; width], 0_u32); classes];
    for (picture, label) in pictures {
        let (sum, count) = &mut sums[*label];
        sum.iter_mut().zip(*picture).for_each(|(sum, value)| *sum += value);
        *count += 1;
    }
    let mean = |(sum, count): (Vec<f32>, u32)| {
        (count > 0).then(|| sum.into_iter().map(|sum| sum / count as f32).collect())
    };
    sums.into_iter().map(mean).collect()
}

/// The class whose mean is nearest.
fn nearest(means: &[Option<Vec<f32>>], picture: &[f32]) -> Option<usize> {
    let distance = |mean: &Vec<f32>| -> f32 {
        mean.iter().zip(picture).map(|(mean, value)| (mean - value) * (mean - value)).sum()
    };
    let known = means.iter().enumerate().filter_map(|(class, mean)| Some((class, distance(mean.as_ref()?))));
    known.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(class, _)| class)
}

fn mirrored(picture: &[f32]) -> Vec<f32> {
    picture.chunks(SIDE as usize).flat_map(|row| row.iter().rev().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_characters_are_known() {
        for name in ["0", "7", "a", "Q", "digit_3", "letter-b", "Seven", "upper_A", "あ"] {
            assert!(is_character(name), "{name}");
        }
        for name in ["cat", "10", "one way", "class", "", "ab"] {
            assert!(!is_character(name), "{name}");
        }
    }
}
