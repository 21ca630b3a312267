//! Every kind of picture to 8-bit grey or RGB.

use std::fs;

use greentune_image_data::decode;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};

use crate::data::{difference, encoded, fixture, picture, pixels, png};

#[test]
fn every_format_and_colour_kind_gives_grey_or_rgb() {
    let rgb = RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8 * 60, y as u8 * 80, 7]));
    let whole = DynamicImage::from(rgb.clone());
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP, ImageFormat::Gif]
    {
        let image = decode(&encoded(whole.clone(), format)).unwrap();
        assert_eq!((image.width, image.height, image.channels), (5, 4, 3), "{format:?}");
        assert_eq!(*image.pixels, *rgb, "{format:?}");
    }
    for same in [whole.to_rgba8().into(), DynamicImage::from(whole.to_rgb16()), whole.to_rgba16().into()] {
        let image = decode(&encoded(same, ImageFormat::Png)).unwrap();
        assert_eq!((image.channels, &*image.pixels), (3, &*rgb));
    }
    let grey = GrayImage::from_fn(5, 4, |x, y| image::Luma([(x * 50 + y) as u8]));
    let whole = DynamicImage::from(grey.clone());
    for same in [whole.clone(), whole.to_luma16().into(), whole.to_luma_alpha8().into()] {
        let image = decode(&encoded(same, ImageFormat::Png)).unwrap();
        assert_eq!((image.channels, &*image.pixels), (1, &*grey));
    }
}

#[test]
fn transparency_is_dropped_and_not_blended() {
    let clear = image::RgbaImage::from_pixel(3, 3, image::Rgba([200, 100, 50, 0]));
    let image = decode(&encoded(clear, ImageFormat::Png)).unwrap();
    assert_eq!(&image.pixels[..3], [200, 100, 50]);
}

#[test]
fn jpeg_and_cmyk_are_what_pil_makes_of_them() {
    let jpeg = difference(&pixels("images/picture.jpg"), &pixels("images/picture-jpg.png"));
    let cmyk = difference(&pixels("images/cmyk.jpg"), &pixels("images/cmyk.png"));
    assert!(jpeg.0 <= 4 && jpeg.1 < 0.5, "{jpeg:?}");
    assert!(cmyk.0 <= 4 && cmyk.1 < 1.0, "{cmyk:?}");
}

#[test]
fn grey_is_weighed_and_repeated_as_pil_does() {
    let image = decode(&fs::read(fixture("images/picture.png")).unwrap()).unwrap();
    let grey = image.with_channels(1);
    assert_eq!(*grey.pixels, *pixels("images/picture-grey.png"));
    let repeated = grey.with_channels(3);
    assert!(repeated.pixels.chunks(3).zip(&*grey.pixels).all(|(rgb, grey)| rgb == [*grey; 3]));
}

#[test]
fn the_orientation_of_exif_is_ignored() {
    let plain = encoded(picture(8, 4, 1), ImageFormat::Jpeg);
    // Big-endian TIFF header, one entry: tag 0x0112, a short, once, 6 (turned by a quarter).
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let marker = [0xff, 0xe1, 0, exif.len() as u8 + 2];
    let turned = [&plain[..2], &marker, exif, &plain[2..]].concat();
    assert_eq!(decode(&turned).unwrap(), decode(&plain).unwrap());
}

/// A motion photo: what follows the picture's end holds bytes that look like markers.
#[test]
fn what_phones_append_to_a_jpeg_is_ignored() {
    let plain = encoded(picture(64, 48, 1), ImageFormat::Jpeg);
    let film = b"\0\0\0\x18ftypmp42\xff\xda\0\x08\xff\xd8\xff\xe1\xff\xda";
    let appended = [&plain[..], film, &[7; 3000], b"\xff\xda", &[9; 100]].concat();
    assert_eq!(decode(&appended).unwrap(), decode(&plain).unwrap());
    // Another picture after the first, as MPO files and panoramas have it: the first counts, though the second is cut.
    let second = encoded(picture(16, 16, 2), ImageFormat::Jpeg);
    let two = [&plain[..], &second[..second.len() / 2]].concat();
    assert_eq!(decode(&two).unwrap(), decode(&plain).unwrap());
    // A whole thumbnail within a segment ends nothing.
    let thumbnail = [b"\xff\xe1".as_slice(), &(second.len() as u16 + 2).to_be_bytes(), &second].concat();
    let with_thumbnail = [&plain[..2], &thumbnail, &plain[2..]].concat();
    assert_eq!(decode(&with_thumbnail).unwrap(), decode(&plain).unwrap());
    let cut = &with_thumbnail[..with_thumbnail.len() - plain.len() / 2];
    assert_eq!(decode(cut).unwrap_err(), "the JPEG is truncated");
    // Cut within the film only.
    assert!(decode(&appended[..plain.len() + 20]).is_ok());
}

#[test]
fn portable_maps_are_read() {
    let image = decode(b"P5\n# made by hand\n2 1\n255\n\x07\xc8").unwrap();
    assert_eq!((image.width, image.channels, &*image.pixels), (2, 1, &[7, 200][..]));
    let image = decode(b"P6 1 1 255\n\x01\x02\x03").unwrap();
    assert_eq!((image.channels, &*image.pixels), (3, &[1, 2, 3][..]));
    let image = decode(b"P2\n2 2\n255\n0 10\n20 255\n").unwrap();
    assert_eq!(&*image.pixels, [0, 10, 20, 255]);
    decode(b"P6 9 9 255\n\x01\x02\x03").unwrap_err();
}

#[test]
fn what_is_no_picture_says_why() {
    let reason = |bytes: &[u8]| decode(bytes).unwrap_err();
    assert_eq!(reason(b""), "the file is empty");
    assert!(reason(b"<html>").contains("neither JPEG, PNG"));
    let (png, jpeg) = (png(40, 30, 1), encoded(picture(64, 64, 1), ImageFormat::Jpeg));
    reason(&png[..png.len() / 2]);
    assert_eq!(reason(&jpeg[..jpeg.len() / 2]), "the JPEG is truncated");
    for at in (0..png.len()).step_by(13) {
        let mut broken = png.clone();
        broken[at] ^= 0xff;
        // Refused or read, never the end of the program.
        let _ = decode(&broken);
    }
}

#[test]
fn a_picture_that_would_fill_the_memory_is_refused() {
    let mut jpeg = encoded(picture(16, 16, 1), ImageFormat::Jpeg);
    let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let reason = decode(&jpeg).unwrap_err();
    assert!(reason.contains("65500×65500 pixels are too many"), "{reason}");
    let mut bmp = encoded(picture(16, 16, 1), ImageFormat::Bmp);
    bmp[18..26].copy_from_slice(&[0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0]);
    let reason = decode(&bmp).unwrap_err();
    assert!(reason.contains("60000×60000") || reason.to_lowercase().contains("limit"), "{reason}");
}
