//! From a decoded picture to the rows that a model sees.

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{Image as Resized, ImageRef},
    pixels::{U8, U8x3},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    augment::{Augmentation, Crop, Draw, Window},
    decode::{Image, MAX_PIXELS},
    error::ImageDataError,
    normalise::Normalisation,
};

/// What becomes of pictures on their way to a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pipeline {
    /// Height that the model sees, in pixels.
    pub height: u32,
    /// Width that the model sees, in pixels.
    pub width: u32,
    /// Channels that the model sees: 1 or 3.
    pub channels: usize,
    /// Share of the resized picture's side that the centre crop keeps: 0.875 is resizing to 256 for a crop of 224.
    pub crop_fraction: f64,
    /// How training images are varied.
    pub augmentation: Augmentation,
    /// Mean and standard deviation.
    pub normalisation: Normalisation,
    /// What every random choice is a function of, together with epoch and id.
    pub seed: u64,
}

/// Whether a picture is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As the augmentation says.
    Augment,
    /// Resized and cropped in the centre, the same in every epoch.
    Evaluate,
}

impl Pipeline {
    /// Side that a model sees where a data set has images of many sizes: that of ImageNet's networks.
    pub const USUAL_SIDE: u32 = 224;

    /// Values of one image: `height · width · channels`.
    pub fn values(&self) -> usize {
        self.height as usize * self.width as usize * self.channels
    }

    fn check(&self) -> Result<(), ImageDataError> {
        let refuse = |key, found: String, allowed| Err(ImageDataError::Setting { key, found, allowed });
        let is_side = |side| (1..=8192).contains(&side);
        if !is_side(self.height) || !is_side(self.width) {
            return refuse(
                "image size",
                format!("{}×{}", self.width, self.height),
                "1 to 8192 pixels a side",
            );
        }
        if ![1, 3].contains(&self.channels) {
            return refuse("channels", self.channels.to_string(), "1 (grey) or 3 (RGB)");
        }
        if !(self.crop_fraction > 0.1 && self.crop_fraction <= 1.0) {
            return refuse("crop_fraction", self.crop_fraction.to_string(), "above 0.1 and at most 1");
        }
        let Normalisation { mean, std } = &self.normalisation;
        let is_usable = |std: &f64| std.is_finite() && *std > 0.0;
        if [mean.len(), std.len()] != [self.channels; 2]
            || !mean.iter().all(|mean| mean.is_finite())
            || !std.iter().all(is_usable)
        {
            let found = format!("mean {mean:?}, std {std:?}");
            return refuse("normalisation", found, "one mean and one std above 0 per channel");
        }
        match self.augmentation.crop {
            Crop::Padded { padding } if padding > 4096 => {
                refuse("augmentation.crop.padding", padding.to_string(), "0 to 4096")
            }
            Crop::Resized { scale: (low, high), .. } if !(low > 0.0 && low <= high && high <= 1.0) => refuse(
                "augmentation.crop.scale",
                format!("{low} to {high}"),
                "above 0 to 1, the smaller first",
            ),
            Crop::Resized { ratio: (low, high), .. } if !(low > 0.0 && low <= high && high.is_finite()) => {
                refuse("augmentation.crop.ratio", format!("{low} to {high}"), "above 0, the smaller first")
            }
            _ => Ok(()),
        }
    }
}

/// Renders pictures; keeps its working memory from one to the next, so each thread has its own.
pub struct Renderer {
    pipeline: Pipeline,
    /// By channel, what each of the 256 levels becomes.
    levels: Vec<[f32; 256]>,
    resizer: Resizer,
}

impl Renderer {
    /// Refuses a pipeline that makes no sense.
    pub fn new(pipeline: &Pipeline) -> Result<Self, ImageDataError> {
        pipeline.check()?;
        let Normalisation { mean, std } = &pipeline.normalisation;
        let level = |value: usize, mean: f64, std: f64| ((value as f64 / 255.0 - mean) / std) as f32;
        let levels = mean.iter().zip(std);
        let levels =
            levels.map(|(&mean, &std)| std::array::from_fn(|value| level(value, mean, std))).collect();
        Ok(Self { pipeline: pipeline.clone(), levels, resizer: Resizer::new() })
    }

    /// Writes `image` as sample `id` is seen in `epoch` into `out`: `height · width` rows of `channels` values.
    ///
    /// # Panics
    /// If `out` has not [`Pipeline::values`] values.
    pub fn render(
        &mut self,
        image: &Image<'_>,
        view: View,
        epoch: u64,
        id: u32,
        out: &mut [f32],
    ) -> Result<(), String> {
        assert_eq!(out.len(), self.pipeline.values());
        let (width, height) = (self.pipeline.width, self.pipeline.height);
        let image = image.with_channels(self.pipeline.channels);
        let Augmentation { crop, horizontal_flip } = match view {
            View::Augment => self.pipeline.augmentation,
            View::Evaluate => Augmentation::NONE,
        };
        let mut draw = Draw::new(self.pipeline.seed, epoch, id);
        let (image, left, top) = match crop {
            Crop::Center => {
                let image = self.fit(image, self.pipeline.crop_fraction)?;
                let (left, top) = (centre(image.width, width), centre(image.height, height));
                (image, left, top)
            }
            Crop::Padded { padding } => {
                let image = self.fit(image, 1.0)?;
                let top = i64::from(draw.offset(image.height + 2 * padding, height)) - i64::from(padding);
                let left = i64::from(draw.offset(image.width + 2 * padding, width)) - i64::from(padding);
                (image, left, top)
            }
            Crop::Resized { scale, ratio } => {
                let window = draw.window(image.width, image.height, scale, ratio);
                (self.resize(&cut(&image, window), width, height)?, 0, 0)
            }
        };
        let is_flipped = horizontal_flip && draw.flip();
        match self.pipeline.channels {
            1 => self.place::<1>(&image, left, top, is_flipped, out),
            _ => self.place::<3>(&image, left, top, is_flipped, out),
        }
        Ok(())
    }

    /// The whole picture, resized so that it just covers the target divided by `fraction`. For a square target that is
    /// torchvision's `Resize(side)`: the shorter side exactly, the longer one rounded down.
    fn fit<'a>(&mut self, image: Image<'a>, fraction: f64) -> Result<Image<'a>, String> {
        let side = |target: u32| u64::from((f64::from(target) / fraction) as u32);
        let (target_width, target_height) = (side(self.pipeline.width), side(self.pipeline.height));
        let (width, height) = (u64::from(image.width), u64::from(image.height));
        let (new_width, new_height) = if width * target_height <= height * target_width {
            (target_width, target_width * height / width)
        } else {
            (target_height * width / height, target_height)
        };
        if (new_width, new_height) == (width, height) {
            return Ok(image);
        }
        if new_width * new_height > MAX_PIXELS {
            return Err(format!(
                "{width}×{height} is too elongated to be resized to {new_width}×{new_height}"
            ));
        }
        self.resize(&image, new_width as u32, new_height as u32)
    }

    /// Bilinear with antialiasing: the triangle filter is as wide as the reduction, as PIL's `BILINEAR` is.
    fn resize(&mut self, image: &Image<'_>, width: u32, height: u32) -> Result<Image<'static>, String> {
        let pixels = match image.channels {
            1 => self.resize_pixels::<U8>(image, width, height)?,
            _ => self.resize_pixels::<U8x3>(image, width, height)?,
        };
        Ok(Image { width, height, channels: image.channels, pixels: pixels.into() })
    }

    /// The kind of pixel is a type parameter, so that the binary holds the two kinds that are used and not all fourteen.
    fn resize_pixels<P: PixelTrait>(
        &mut self,
        image: &Image<'_>,
        width: u32,
        height: u32,
    ) -> Result<Vec<u8>, String> {
        let source = ImageRef::new(image.width, image.height, &image.pixels, P::pixel_type());
        let source = source.map_err(|error| error.to_string())?;
        let source = source.typed_image::<P>().ok_or("the picture has another kind of pixel")?;
        let mut resized = Resized::new(width, height, P::pixel_type());
        let mut target = resized.typed_image_mut::<P>().ok_or("the picture has another kind of pixel")?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        self.resizer.resize_typed(&source, &mut target, &options).map_err(|error| error.to_string())?;
        Ok(resized.into_vec())
    }

    /// Writes the target's window, whose left top corner is at (`left`, `top`) of the image; what lies outside of the
    /// image is black.
    fn place<const C: usize>(
        &self,
        image: &Image<'_>,
        left: i64,
        top: i64,
        is_flipped: bool,
        out: &mut [f32],
    ) {
        let width = self.pipeline.width as usize;
        let levels: &[[f32; 256]; C] = self.levels.as_slice().try_into().expect("levels of every channel");
        let black: [f32; C] = std::array::from_fn(|channel| levels[channel][0]);
        let pixels = image.pixels.as_chunks::<C>().0;
        // Columns of the target, before it is mirrored, that lie within the image.
        let columns = i64::from(self.pipeline.width);
        let first = (-left).clamp(0, columns);
        let end = (i64::from(image.width) - left).clamp(first, columns);
        let (left, first, end) = ((left + first) as usize, first as usize, end as usize);
        for (y, row) in (top..).zip(out.as_chunks_mut::<C>().0.chunks_exact_mut(width)) {
            if first == end || !(0..i64::from(image.height)).contains(&y) {
                row.fill(black);
                continue;
            }
            row[..first].fill(black);
            row[end..].fill(black);
            let start = y as usize * image.width as usize + left;
            for (target, source) in row[first..end].iter_mut().zip(&pixels[start..]) {
                *target = std::array::from_fn(|channel| levels[channel][usize::from(source[channel])]);
            }
            if is_flipped {
                row.reverse();
            }
        }
    }
}

/// Where the centre of `outer` pixels begins: torchvision's `CenterCrop` rounds halves to even.
fn centre(outer: u32, inner: u32) -> i64 {
    (f64::from(outer - inner) / 2.0).round_ties_even() as i64
}

/// A copy of a part of an image. Filters must not see beyond it, as they do not in torchvision.
fn cut(image: &Image<'_>, window: Window) -> Image<'static> {
    let stride = image.width as usize * image.channels;
    let (start, len) = (window.left as usize * image.channels, window.width as usize * image.channels);
    let rows = image.pixels.chunks_exact(stride).skip(window.top as usize).take(window.height as usize);
    let mut pixels = Vec::with_capacity(len * window.height as usize);
    rows.for_each(|row| pixels.extend_from_slice(&row[start..start + len]));
    Image { width: window.width, height: window.height, channels: image.channels, pixels: pixels.into() }
}
