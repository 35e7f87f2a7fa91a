//! The texts of a program, one behind the other.
//!
//! With an allocation for each of four texts, a program took 40 bytes more: pointers, lengths, and
//! what the allocator rounds up. And a hit needs them all, so that they had better stand together.

use crate::LandingUrl;

/// Name, checksum, name of the customer and landing URL, in one allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Texts {
    all: Box<str>,
    /// Where each but the last ends.
    name_end: u16,
    checksum_end: u16,
    customer_end: u16,
}

impl Texts {
    /// These texts, of [`TEXT_BYTES_MAX`](super::TEXT_BYTES_MAX) bytes each at most.
    pub fn new(name: &str, checksum: &str, customer_name: &str, landing_url: Option<&LandingUrl>) -> Self {
        let landing_url = landing_url.map_or("", LandingUrl::as_str);
        let all = [name, checksum, customer_name, landing_url].concat().into_boxed_str();
        let end = |bytes: usize| u16::try_from(bytes).expect("three texts are shorter than 64 KiB");
        Self {
            all,
            name_end: end(name.len()),
            checksum_end: end(name.len() + checksum.len()),
            customer_end: end(name.len() + checksum.len() + customer_name.len()),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.all[..self.name_end.into()]
    }

    pub(super) fn checksum(&self) -> &str {
        &self.all[self.name_end.into()..self.checksum_end.into()]
    }

    pub(super) fn customer_name(&self) -> &str {
        &self.all[self.checksum_end.into()..self.customer_end.into()]
    }

    /// No URL is empty, so an empty one is none.
    pub(super) fn landing_url(&self) -> Option<LandingUrl<&str>> {
        let text = &self.all[self.customer_end.into()..];
        (!text.is_empty()).then(|| LandingUrl::of_parsed(text))
    }
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts")
            .field("name", &self.name())
            .field("checksum", &self.checksum())
            .field("customer_name", &self.customer_name())
            .field("landing_url", &self.landing_url())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back_as_they_were_given() {
        let url = LandingUrl::parse("https://a.example/{click_id}").unwrap();
        for (name, checksum, customer) in [("", "", ""), ("näme", "", "c"), ("n", "1", "")] {
            for url in [None, Some(&url)] {
                let texts = Texts::new(name, checksum, customer, url);
                assert_eq!(
                    (texts.name(), texts.checksum(), texts.customer_name()),
                    (name, checksum, customer)
                );
                assert_eq!(texts.landing_url().map(|url| url.to_string()), url.map(|url| url.to_string()));
            }
        }
    }
}
