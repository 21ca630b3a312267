//! Uncompressed pictures of one size, held in memory.

use std::path::Path;

use super::{Store, file_name};
use crate::decode::{Header, Image};

/// Pictures one after another, each row by row with interleaved channels.
pub(super) struct Raw {
    pub(super) header: Header,
    pub(super) pixels: Vec<u8>,
    /// Files and how many pictures each has.
    pub(super) files: Vec<(String, u32)>,
}

impl Raw {
    pub(super) fn new(header: Header) -> Self {
        Self { header, pixels: Vec::new(), files: Vec::new() }
    }

    pub(super) fn came_from(&mut self, path: &Path, pictures: usize) {
        self.files.push((file_name(path), pictures as u32));
    }
}

impl Store for Raw {
    fn image(&self, row: u32) -> Result<Image<'_>, String> {
        let Header { width, height, channels } = self.header;
        let size = width as usize * height as usize * channels;
        let start = row as usize * size;
        Ok(Image { width, height, channels, pixels: self.pixels[start..start + size].into() })
    }

    fn header(&self, _row: u32) -> Result<Header, String> {
        Ok(self.header)
    }

    fn name(&self, mut row: u32) -> String {
        for (file, pictures) in &self.files {
            if row < *pictures {
                return format!("{file} image {row}");
            }
            row -= pictures;
        }
        format!("image {row}")
    }
}
