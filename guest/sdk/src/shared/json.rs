//! JSON in messages and entries.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Json(format!("this has no JSON form: {error}")))
}

pub fn decode<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(json)
        .map_err(|error| Error::Json(format!("this is not the JSON that was expected: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let list = vec![Some(1), None];
        assert_eq!(decode(&encode(&list).unwrap()), Ok(list));
    }

    #[test]
    fn what_does_not_fit_says_where() {
        let Err(Error::Json(text)) = decode::<Vec<u8>>(b"[1, true]") else { panic!("it was decoded") };
        assert!(text.contains("line 1 column 8"), "{text}");
    }
}
