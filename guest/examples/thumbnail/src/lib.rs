//! Shrinks a PNG or JPEG image to a given width; the format stays what it was.
//!
//! `init` takes the width as decimal text, `"320"`; without it, it is 128. An
//! image that is narrower already is passed on at its size.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader};

const DEFAULT_WIDTH: u32 = 128;

wasmpool_guest::task!(init: width, run: shrink);

fn width(args: &[u8]) -> Result<u32, String> {
    let text = String::from_utf8_lossy(args);
    match text.trim() {
        "" => Ok(DEFAULT_WIDTH),
        text => match text.parse() {
            Ok(width) if width > 0 => Ok(width),
            _ => Err(format!("the width is a whole number of pixels, not {text:?}")),
        },
    }
}

fn shrink(width: &u32, item: &[u8]) -> Result<Vec<u8>, String> {
    let reader = ImageReader::new(Cursor::new(item)).with_guessed_format().map_err(|error| error.to_string())?;
    let format = reader.format().ok_or("neither a PNG nor a JPEG image")?;
    let image = reader.decode().map_err(|error| error.to_string())?;

    let mut thumbnail = Cursor::new(Vec::new());
    scale(image, *width).write_to(&mut thumbnail, format).map_err(|error| error.to_string())?;
    Ok(thumbnail.into_inner())
}

fn scale(image: DynamicImage, width: u32) -> DynamicImage {
    if image.width() <= width {
        return image;
    }
    // At least one row, however long and thin the image is.
    let height = (u64::from(image.height()) * u64::from(width) / u64::from(image.width())).max(1);
    // The quotient is below the image's own height, so it fits.
    image.resize_exact(width, height as u32, FilterType::Triangle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageFormat;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, height).write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn shape(bytes: &[u8]) -> (u32, u32, ImageFormat) {
        let image = image::load_from_memory(bytes).unwrap();
        (image.width(), image.height(), image::guess_format(bytes).unwrap())
    }

    #[test]
    fn keeps_the_proportions_and_the_format() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let small = shrink(&60, &picture(300, 100, format)).unwrap();
            assert_eq!(shape(&small), (60, 20, format));
        }
    }

    #[test]
    fn never_enlarges_and_never_vanishes() {
        let same = shrink(&60, &picture(8, 8, ImageFormat::Png)).unwrap();
        assert_eq!(shape(&same), (8, 8, ImageFormat::Png));
        let thin = shrink(&10, &picture(500, 1, ImageFormat::Png)).unwrap();
        assert_eq!(shape(&thin), (10, 1, ImageFormat::Png));
    }

    #[test]
    fn what_is_no_image_is_an_error() {
        assert_eq!(shrink(&60, b"hello").unwrap_err(), "neither a PNG nor a JPEG image");
        let cut = &picture(30, 30, ImageFormat::Png)[..40];
        assert!(shrink(&60, cut).is_err());
    }

    #[test]
    fn the_width_is_decimal_text() {
        assert_eq!(width(b"320\n"), Ok(320));
        assert_eq!(width(b""), Ok(DEFAULT_WIDTH));
        assert!(width(b"0").is_err());
        assert!(width(b"wide").unwrap_err().contains("\"wide\""));
    }
}
