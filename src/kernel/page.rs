//! Pages of lists: how many rows, and after which.
//!
//! A page token holds the sort key of the last row of the page before, so that a page costs the same
//! wherever it lies and rows that come or go in between shift nothing. To clients it is opaque; the
//! gateway signs it and binds it to the query.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::kernel::error::{Error, Result};

/// Rows of a page when the request states none.
pub const DEFAULT_PAGE_SIZE: u32 = 50;

/// The most rows of a page.
pub const MAX_PAGE_SIZE: u32 = 200;

/// The request field that carries a page token.
const PAGE_TOKEN: &str = "page_token";

/// Which page of a list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The most rows to return: 1 to [`MAX_PAGE_SIZE`].
    pub size: u32,
    /// The last row of the page before; `None` for the first page.
    pub after: Option<PageToken>,
}

impl PageRequest {
    /// Reads the fields `page_size` (0 is [`DEFAULT_PAGE_SIZE`]; more than the most is the most) and
    /// `page_token` (empty is the first page). `INVALID_ARGUMENT` names the field at fault.
    pub fn parse(page_size: i32, page_token: &str) -> Result<Self> {
        let size = u32::try_from(page_size)
            .map_err(|_| Error::invalid("page_size", "must not be negative"))?;
        let size = if size == 0 { DEFAULT_PAGE_SIZE } else { size.min(MAX_PAGE_SIZE) };
        let after = match page_token {
            "" => None,
            token => Some(PageToken::parse(token)?),
        };
        Ok(Self { size, after })
    }

    /// How many rows to read: one more than the page, which tells whether another page follows.
    pub fn rows_to_read(&self) -> u64 {
        u64::from(self.size) + 1
    }

    /// Cuts the rows read to a page, with the token of the next one; empty at the end.
    pub fn cut<T>(&self, mut rows: Vec<T>, key: impl FnOnce(&T) -> PageToken) -> (Vec<T>, String) {
        let has_more = rows.len() > self.size as usize;
        rows.truncate(self.size as usize);
        let next = rows.last().filter(|_| has_more).map(|row| key(row).encode());
        (rows, next.unwrap_or_default())
    }
}

/// The sort key of a row, column by column, such as its time and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(Vec<String>);

impl PageToken {
    /// From the columns of the sort key.
    pub fn new<P: Into<String>>(columns: impl IntoIterator<Item = P>) -> Self {
        Self(columns.into_iter().map(Into::into).collect())
    }

    /// Reads a token; `INVALID_ARGUMENT` names `page_token`.
    pub fn parse(token: &str) -> Result<Self> {
        let columns = URL_SAFE_NO_PAD.decode(token).ok();
        columns
            .and_then(|columns| serde_json::from_slice(&columns).ok())
            .map(Self)
            .ok_or_else(Self::refused)
    }

    /// The token as text.
    pub fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::json!(self.0).to_string())
    }

    /// The columns, if there are as many as the list's sort key has.
    pub fn columns<const COUNT: usize>(&self) -> Result<[&str; COUNT]> {
        let columns: Vec<_> = self.0.iter().map(String::as_str).collect();
        columns.try_into().map_err(|_| Self::refused())
    }

    /// A column that holds what `FromStr` reads, such as an id or a number.
    pub fn column<T: std::str::FromStr>(&self, position: usize) -> Result<T> {
        let column = self.0.get(position).and_then(|column| column.parse().ok());
        column.ok_or_else(Self::refused)
    }

    /// What is answered to a token that is not one of this list's.
    pub fn refused() -> Error {
        Error::invalid(PAGE_TOKEN, "must be a token of the page before")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_bounded() {
        for (stated, expected) in [(0, 50), (1, 1), (200, 200), (201, 200), (i32::MAX, 200)] {
            assert_eq!(PageRequest::parse(stated, "").unwrap().size, expected);
        }
        assert_eq!(PageRequest::parse(-1, "").unwrap_err().violations()[0].field, "page_size");
    }

    #[test]
    fn tokens_come_back_as_they_were() {
        let token = PageToken::new(["2026-11-20T12:00:00Z", "17"]);
        let request = PageRequest::parse(2, &token.encode()).unwrap();
        let after = request.after.unwrap();
        assert_eq!(after.columns::<2>().unwrap(), ["2026-11-20T12:00:00Z", "17"]);
        assert_eq!(after.column::<u64>(1).unwrap(), 17);
        assert!(after.column::<u64>(0).is_err() && after.column::<u64>(2).is_err());
        assert!(after.columns::<3>().is_err());
    }

    #[test]
    fn bad_tokens_name_their_field() {
        for token in ["x", "=", "e30", "W10=", "💥"] {
            let error = PageRequest::parse(0, token).unwrap_err();
            assert_eq!(error.violations()[0].field, "page_token", "{token}");
        }
    }

    #[test]
    fn one_row_more_than_the_page_means_another_page() {
        let request = PageRequest::parse(2, "").unwrap();
        assert_eq!(request.rows_to_read(), 3);
        let key = |row: &u32| PageToken::new([row.to_string()]);
        assert_eq!(request.cut(vec![1, 2], key), (vec![1, 2], String::new()));
        let (rows, next) = request.cut(vec![1, 2, 3], key);
        assert_eq!((rows, PageToken::parse(&next).unwrap().column(0).unwrap()), (vec![1, 2], 2));
        assert_eq!(request.cut(vec![], key), (vec![], String::new()));
    }
}
