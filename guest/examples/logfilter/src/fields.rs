//! Takes a line apart, field by field. A field is a word, `[bracketed]` or
//! `"quoted"`; asking for another form than the line has gives `None`.

pub struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    pub fn new(line: &'a str) -> Self {
        Self(line)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn word(&mut self) -> Option<&'a str> {
        let end = self.0.find(' ').unwrap_or(self.0.len());
        if end == 0 || self.0.starts_with(['[', '"']) {
            return None;
        }
        let (word, rest) = self.0.split_at(end);
        self.rest(rest)?;
        Some(word)
    }

    pub fn bracketed(&mut self) -> Option<&'a str> {
        let (inside, rest) = self.0.strip_prefix('[')?.split_once(']')?;
        self.rest(rest)?;
        Some(inside)
    }

    /// Servers write `"` as `\"` and `\` as `\\`; other escapes stay as they are.
    pub fn quoted(&mut self) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.0.strip_prefix('"')?.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => match chars.next()? {
                    escaped @ ('"' | '\\') => text.push(escaped),
                    other => text.extend(['\\', other]),
                },
                plain => text.push(plain),
            }
        }
        self.rest(chars.as_str())?;
        Some(text)
    }

    /// Goes on after a field: at the end, or past one space.
    fn rest(&mut self, rest: &'a str) -> Option<()> {
        self.0 = if rest.is_empty() { rest } else { rest.strip_prefix(' ')? };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_each_form_in_turn() {
        let mut fields = Fields::new(r#"a [b c] "d \"e\" \\ \x16" f"#);
        assert_eq!(fields.word(), Some("a"));
        assert_eq!(fields.bracketed(), Some("b c"));
        assert_eq!(fields.quoted().as_deref(), Some(r#"d "e" \ \x16"#));
        assert_eq!(fields.word(), Some("f"));
        assert!(fields.is_empty());
        assert_eq!(fields.word(), None);
    }

    #[test]
    fn refuses_what_is_not_closed() {
        assert_eq!(Fields::new("[b").bracketed(), None);
        assert_eq!(Fields::new(r#""b\""#).quoted(), None);
        assert_eq!(Fields::new("[b]c").bracketed(), None);
    }
}
