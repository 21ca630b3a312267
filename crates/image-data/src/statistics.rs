//! Mean and standard deviation of a data set's images.

use crate::{
    error::ImageDataError,
    normalise::Normalisation,
    part::Part,
    random::{Purpose, Random},
    render::{Pipeline, Renderer, View},
};

/// Training images that mean and standard deviation are computed from, at most.
const SAMPLE: usize = 2000;

impl Normalisation {
    /// Those of `part` as evaluation sees it, from at most 2000 images chosen by `pipeline.seed`. Images that cannot be
    /// read are left out; a channel that never varies gets a standard deviation of 1.
    pub fn of(part: &Part, pipeline: &Pipeline) -> Result<Self, ImageDataError> {
        let channels = pipeline.channels;
        let plain = Pipeline { normalisation: Self::none(channels), ..pipeline.clone() };
        let mut renderer = Renderer::new(&plain)?;
        let mut ids: Vec<u32> = (0..part.len() as u32).collect();
        let mut random = Random::new(Purpose::Statistics, pipeline.seed, 0, 0);
        random.choose(&mut ids, SAMPLE);
        ids.truncate(SAMPLE);
        let mut values = vec![0.0; plain.values()];
        let (mut sums, mut squares, mut count) = (vec![0.0; channels], vec![0.0; channels], 0.0);
        let (mut failed, tried) = (Vec::new(), ids.len() as u64);
        for id in ids {
            let rendered = part.image(id).and_then(|image| {
                part.named(id, renderer.render(&image, View::Evaluate, 0, id, &mut values))
            });
            if let Err(unreadable) = rendered {
                failed.push(unreadable);
                continue;
            }
            count += (values.len() / channels) as f64;
            for pixel in values.chunks_exact(channels) {
                for (channel, &value) in pixel.iter().enumerate() {
                    sums[channel] += f64::from(value);
                    squares[channel] += f64::from(value).powi(2);
                }
            }
        }
        if let Some(example) = failed.first().filter(|_| failed.len() as u64 * 10 > tried) {
            return Err(ImageDataError::TooManyUnreadable {
                failed: failed.len() as u64,
                tried,
                example: example.clone(),
            });
        }
        let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
        let variances = squares.iter().zip(&mean).map(|(square, mean)| square / count - mean * mean);
        // Less than a level of 8 bits is rounding.
        let std = variances.map(|v| v.max(0.0).sqrt()).map(|std| if std < 1.0 / 512.0 { 1.0 } else { std });
        Ok(Self { std: std.collect(), mean })
    }
}
