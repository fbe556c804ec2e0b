//! The subject of a client's certificate as text, after RFC 4514.
//!
//! Deliberately checks nothing: the handshake has, before this is asked. What is written is inert, whatever a CA let into
//! a name: control characters and everything outside plain text come out as escapes. Two different names never come out
//! as one text.

use std::fmt::Write as _;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
/// `[0] EXPLICIT`: the version, left out of the oldest kind of certificate.
const VERSION: u8 = 0xa0;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;

/// The names that RFC 4514 has for types of attributes, by the content of their object identifiers.
const NAMED_TYPES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

/// The subject of the certificate `der`, most specific part first: `CN=support-bot,OU=Agents,O=Example`. `None` for an empty
/// subject, or for what is no certificate.
pub(super) fn subject(der: &[u8]) -> Option<String> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut rest, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, after)) = expect(rest, VERSION) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer, validity.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE] {
        rest = expect(rest, tag)?.1;
    }
    let (mut names, _) = expect(rest, SEQUENCE)?;
    let mut parts = Vec::new();
    while !names.is_empty() {
        let (set, after) = expect(names, SET)?;
        parts.push(relative_name(set)?);
        names = after;
    }
    parts.reverse();
    if parts.is_empty() { None } else { Some(parts.join(",")) }
}

/// One step of the name: usually one attribute, else several with `+` between them.
fn relative_name(mut set: &[u8]) -> Option<String> {
    let mut text = String::new();
    while !set.is_empty() {
        let (attribute, after) = expect(set, SEQUENCE)?;
        let (id, value) = expect(attribute, OBJECT_ID)?;
        if !text.is_empty() {
            text.push('+');
        }
        let name = NAMED_TYPES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
        match name {
            Some(name) => text.push_str(name),
            None => push_object_id(&mut text, id)?,
        }
        text.push('=');
        let (tag, content, _) = element(value)?;
        match (name, std::str::from_utf8(content)) {
            (Some(_), Ok(plain)) if matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING) => {
                push_escaped(&mut text, plain);
            }
            _ => {
                // An unknown type or another alphabet: the encoding itself.
                text.push('#');
                for byte in value {
                    write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                }
            }
        }
        set = after;
    }
    if text.is_empty() { None } else { Some(text) }
}

fn push_escaped(text: &mut String, value: &str) {
    let last = value.chars().count().saturating_sub(1);
    for (place, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => text.extend(['\\', character]),
            ' ' if place == 0 || place == last => text.push_str("\\ "),
            '#' if place == 0 => text.push_str("\\#"),
            ' '..='~' => text.push(character),
            other => {
                for byte in other.encode_utf8(&mut [0; 4]).bytes() {
                    write!(text, "\\{byte:02X}").expect("writing to a String cannot fail");
                }
            }
        }
    }
}

fn push_object_id(text: &mut String, id: &[u8]) -> Option<()> {
    let mut arc: u64 = 0;
    let mut is_first = true;
    for byte in id {
        arc = arc.checked_mul(128)?.checked_add(u64::from(byte & 0x7f))?;
        if byte & 0x80 != 0 {
            continue;
        }
        if is_first {
            let top = (arc / 40).min(2);
            write!(text, "{top}.{}", arc - top * 40).expect("writing to a String cannot fail");
            is_first = false;
        } else {
            write!(text, ".{arc}").expect("writing to a String cannot fail");
        }
        arc = 0;
    }
    // Neither empty nor cut off inside a number.
    if is_first || id.last().is_some_and(|byte| byte & 0x80 != 0) { None } else { Some(()) }
}

/// The content of the element that `input` begins with, if it has this tag, and what follows it.
fn expect(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(input).filter(|(found, ..)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// Tag, content and what follows. Lengths up to 65 535 bytes, which no handshake's certificate exceeds by much.
fn element(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = input.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        0x82 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair};

    use super::*;

    fn certificate(names: &[(DnType, DnValue)]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        // A long certificate has lengths of two bytes.
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 1], vec![4, 1, 0]));
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    fn text(value: &str) -> DnValue {
        DnValue::Utf8String(value.to_owned())
    }

    #[test]
    fn the_subject_is_written_most_specific_part_first() {
        let der = certificate(&[
            (DnType::CountryName, DnValue::PrintableString("DE".try_into().expect("printable"))),
            (DnType::OrganizationName, text("Example")),
            (DnType::CommonName, text("support-bot")),
        ]);
        assert_eq!(subject(&der).as_deref(), Some("CN=support-bot,O=Example,C=DE"));
    }

    #[test]
    fn what_could_be_taken_for_another_name_is_escaped() {
        for (value, expected) in [
            ("bot,O=Example", r"CN=bot\,O\=Example"),
            ("a+CN=b", r"CN=a\+CN\=b"),
            (" lead and trail ", r"CN=\ lead and trail\ "),
            ("#hash", r"CN=\#hash"),
            ("back\\slash", r"CN=back\\slash"),
            ("line\nbreak\u{1b}", r"CN=line\0Abreak\1B"),
            ("Bücher", r"CN=B\C3\BCcher"),
            ("nul\0", r"CN=nul\00"),
        ] {
            let der = certificate(&[(DnType::CommonName, text(value))]);
            assert_eq!(subject(&der).as_deref(), Some(expected));
        }
    }

    #[test]
    fn other_types_and_alphabets_are_written_as_they_are_encoded() {
        let der = certificate(&[(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99_999, 1]), text("x"))]);
        assert_eq!(subject(&der).as_deref(), Some("1.3.6.1.4.1.99999.1=#0c0178"));
        let der = certificate(&[(DnType::CommonName, DnValue::BmpString("x".try_into().expect("text")))]);
        assert_eq!(subject(&der).as_deref(), Some("CN=#1e020078"));
    }

    #[test]
    fn an_empty_subject_is_none() {
        assert_eq!(subject(&certificate(&[])), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = subject(&bytes);
        }

        #[test]
        fn no_damage_to_a_certificate_makes_it_panic(place in 0_usize..400, byte: u8, cut in 0_usize..600) {
            let mut der = certificate(&[(DnType::CommonName, text("bot"))]);
            let place = place % der.len();
            der[place] = byte;
            der.truncate(cut.max(1));
            let _ = subject(&der);
        }
    }
}
