//! The text of keys and of what they sign: a title line, then hexadecimal digits.

const BYTES_PER_LINE: usize = 32;

/// `bytes` under a title.
pub(super) fn write(title: &str, bytes: &[u8]) -> String {
    let lines = bytes.chunks(BYTES_PER_LINE).map(|line| format!("{}\n", to_hex(line)));
    std::iter::once(format!("{title}\n")).chain(lines).collect()
}

/// The bytes under a title; `None` if it is another or they are not in hexadecimal digits.
pub(super) fn read(title: &str, text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_start().strip_prefix(title)?;
    let digits: Vec<u8> = digits.strip_prefix(['\n', '\r'])?.bytes().collect();
    let digits: Vec<u8> = digits.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    from_digits(&digits)
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes from 64 hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<[u8; 32]> {
    from_digits(text.as_bytes())?.try_into().ok()
}

fn from_digits(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |d: u8| char::from(d).to_digit(16).and_then(|d| u8::try_from(d).ok());
    pairs.iter().map(|&[high, low]| Some((digit(high)? << 4) | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_under_a_title_is_read_under_it_only() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = write("mobula thing 1", &bytes);
        assert_eq!(read("mobula thing 1", &text), Some(bytes));
        assert_eq!(read("mobula thing", &text), None);
        assert_eq!(read("mobula other 1", &text), None);
    }

    #[test]
    fn half_a_byte_and_what_is_no_digit_are_refused() {
        assert_eq!(read("t", "t\nabc"), None);
        assert_eq!(read("t", "t\nag"), None);
        assert_eq!(from_hex("é"), None);
    }
}
