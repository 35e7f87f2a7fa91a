//! Reading partitions in the order of their sort keys: one, or many merged.

use std::collections::VecDeque;

use aws_sdk_dynamodb::types::{ReturnConsumedCapacity, Select};
use futures_util::future::try_join_all;

use super::client::Db;
use super::fault::Fault;
use super::item::{EXPIRES_AT, Item, PK, SK, number, text, text_of};

/// The part of a partition that is read.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub partition: String,
    /// The first sort key.
    pub from: String,
    /// The last one.
    pub to: String,
    pub is_descending: bool,
    /// Items that are over by then are left out; `None` for items that stay.
    pub now_ms: Option<u64>,
    /// Items of a page.
    pub page: i32,
}

/// Greater than every sort key.
pub(super) const LAST_SORT: &str = "~";
/// Smaller than every sort key; a key is never empty.
pub(super) const FIRST_SORT: &str = " ";

impl Range {
    pub fn all(partition: String) -> Self {
        Self {
            partition,
            from: FIRST_SORT.to_owned(),
            to: LAST_SORT.to_owned(),
            is_descending: false,
            now_ms: None,
            page: 1_000,
        }
    }
}

/// A page of a partition.
pub(super) struct Page {
    pub items: Vec<Item>,
    pub next: Option<Item>,
    /// How many, whether or not they were asked for.
    pub count: u64,
}

impl Db {
    /// A page, as it is after every write that was answered. `attributes`: a projection, with
    /// `#`names as they stand in `names`.
    pub async fn page(
        &self,
        range: &Range,
        start: Option<Item>,
        select: &Selection<'_>,
    ) -> Result<Page, Fault> {
        let answer = self.call("dynamodb:Query", |client| {
            let query = client.query().table_name(&*self.table).consistent_read(true);
            let mut query = query
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_names("#pk", PK)
                .expression_attribute_names("#sk", SK)
                .expression_attribute_values(":pk", text(&range.partition))
                .expression_attribute_values(":from", text(&range.from))
                .expression_attribute_values(":to", text(&range.to))
                .scan_index_forward(!range.is_descending)
                .set_exclusive_start_key(start.clone());
            if let Some(now_ms) = range.now_ms {
                query = query
                    .filter_expression("#expires_at > :now")
                    .expression_attribute_names("#expires_at", EXPIRES_AT)
                    .expression_attribute_values(":now", number(now_ms / 1_000));
            }
            query = match select {
                Selection::Whole => query.limit(range.page),
                Selection::Count => query.select(Select::Count),
                Selection::Attributes(names) => {
                    let mut projection = Vec::new();
                    for (at, attribute) in names.iter().enumerate() {
                        let name = format!("#a{at}");
                        query = query.expression_attribute_names(&name, *attribute);
                        projection.push(name);
                    }
                    query.projection_expression(projection.join(", "))
                }
            };
            query.return_consumed_capacity(ReturnConsumedCapacity::Total).send()
        });
        let answer = answer.await?;
        self.count_read(answer.consumed_capacity());
        Ok(Page {
            next: answer.last_evaluated_key.filter(|key| !key.is_empty()),
            count: u64::try_from(answer.count).unwrap_or_default(),
            items: answer.items.unwrap_or_default(),
        })
    }

    /// All items of a partition.
    pub async fn all_of(&self, partition: String) -> Result<Vec<Item>, Fault> {
        self.all_in(&Range::all(partition), &Selection::Whole).await
    }

    /// All items of a range.
    pub async fn all_in(&self, range: &Range, select: &Selection<'_>) -> Result<Vec<Item>, Fault> {
        let mut items = Vec::new();
        let mut start = None;
        loop {
            let page = self.page(range, start, select).await?;
            items.extend(page.items);
            start = page.next;
            if start.is_none() {
                return Ok(items);
            }
        }
    }

    /// How many items a range has.
    pub async fn count_in(&self, range: &Range) -> Result<u64, Fault> {
        let mut count = 0;
        let mut start = None;
        loop {
            let page = self.page(range, start, &Selection::Count).await?;
            count += page.count;
            start = page.next;
            if start.is_none() {
                return Ok(count);
            }
        }
    }
}

impl Db {
    /// How many items of a part of the whole table have an attribute and are not over.
    pub async fn count_segment(
        &self,
        segment: i32,
        parts: Parallel,
        attribute: &str,
        now_ms: u64,
    ) -> Result<u64, Fault> {
        let mut count = 0;
        let mut start: Option<Item> = None;
        loop {
            let answer = self.call("dynamodb:Scan", |client| {
                let scan = client.scan().table_name(&*self.table).consistent_read(true);
                scan.segment(segment)
                    .total_segments(parts.0)
                    .select(Select::Count)
                    .filter_expression("attribute_exists(#attribute) AND #expires_at > :now")
                    .expression_attribute_names("#attribute", attribute)
                    .expression_attribute_names("#expires_at", EXPIRES_AT)
                    .expression_attribute_values(":now", number(now_ms / 1_000))
                    .set_exclusive_start_key(start.clone())
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
            });
            let answer = answer.await?;
            self.count_read(answer.consumed_capacity());
            count += u64::try_from(answer.count).unwrap_or_default();
            start = answer.last_evaluated_key.filter(|key| !key.is_empty());
            if start.is_none() {
                return Ok(count);
            }
        }
    }
}

/// The parts in which a whole table is read at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parallel(i32);

impl Parallel {
    pub fn of(parts: usize) -> Self {
        Self(i32::try_from(parts).unwrap_or(1).max(1))
    }

    pub fn segments(self) -> std::ops::Range<i32> {
        0..self.0
    }
}

/// What is read of each item.
pub(super) enum Selection<'a> {
    Whole,
    Count,
    Attributes(&'a [&'a str]),
}

/// One range, item by item, in its order.
pub(super) struct Ascending<'a> {
    db: &'a Db,
    range: Range,
    read: VecDeque<Item>,
    next: Option<Item>,
    is_read: bool,
}

impl<'a> Ascending<'a> {
    pub fn partition(db: &'a Db, partition: String) -> Self {
        Self::range(db, Range::all(partition))
    }

    pub fn range(db: &'a Db, range: Range) -> Self {
        Self { db, range, read: VecDeque::new(), next: None, is_read: false }
    }

    /// Reads until there is an item, or there is none any more.
    async fn fill(&mut self) -> Result<(), Fault> {
        while self.read.is_empty() && !self.is_read {
            let page = self.db.page(&self.range, self.next.take(), &Selection::Whole).await?;
            self.read.extend(page.items);
            self.next = page.next;
            self.is_read = self.next.is_none();
        }
        Ok(())
    }

    pub async fn next(&mut self) -> Result<Option<Item>, Fault> {
        self.fill().await?;
        Ok(self.read.pop_front())
    }
}

/// Several ranges as one, by sort key. All of them ascend, or all descend.
pub(super) struct Merged<'a> {
    ranges: Vec<Ascending<'a>>,
    is_descending: bool,
}

impl<'a> Merged<'a> {
    pub fn new(db: &'a Db, ranges: Vec<Range>) -> Self {
        let is_descending = ranges.first().is_some_and(|range| range.is_descending);
        Self { ranges: ranges.into_iter().map(|range| Ascending::range(db, range)).collect(), is_descending }
    }

    /// The next item. Those whose next item is not read yet are asked at the same time.
    pub async fn next(&mut self) -> Result<Option<Item>, Fault> {
        try_join_all(self.ranges.iter_mut().map(Ascending::fill)).await?;
        let mut first: Option<(usize, &str)> = None;
        for (at, range) in self.ranges.iter().enumerate() {
            let Some(item) = range.read.front() else { continue };
            let sort = text_of(item, SK)?;
            let is_before = |other: &str| if self.is_descending { sort > other } else { sort < other };
            if first.is_none_or(|(_, other)| is_before(other)) {
                first = Some((at, sort));
            }
        }
        let Some((at, _)) = first else { return Ok(None) };
        Ok(self.ranges[at].read.pop_front())
    }
}
