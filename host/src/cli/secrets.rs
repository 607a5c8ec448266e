//! What is left out where an argument is shown.

/// Returns an address without what stands in front of its host, if anything does: a name, or a name and a password.
pub fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (secret, _) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://…{}", rest.strip_prefix(secret)?))
}

/// Returns a value that an error names without a password in it, also where the scheme of an address was forgotten.
pub fn without_secret(text: &str) -> String {
    let bare = || {
        let (secret, host) = text.split_once('@')?;
        let is_secret = secret.contains(':') && !secret.contains(['/', ' ']) && !host.contains(['/', ' ']);
        is_secret.then(|| format!("…@{host}"))
    };
    without_password(text).or_else(bare).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_of_an_address() {
        for (text, shown) in [
            ("tls://joe:secret@host:1", "tls://…@host:1"),
            ("tls://joe:se@cret@host:1", "tls://…@host:1"),
            ("joe:secret@host:4222", "…@host:4222"),
            ("tls://host:1", "tls://host:1"),
            ("a@b", "a@b"),
            ("12:30 @ noon", "12:30 @ noon"),
        ] {
            assert_eq!(without_secret(text), shown);
        }
    }
}
