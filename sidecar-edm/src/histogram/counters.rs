//! Which counters an answer adds to (`edm.md` 8.2).

/// Counters of a row.
pub const COLUMNS: usize = 10;

/// Their values, in the order of the columns: A, AAAA, MX, NS, other types, not of class IN; then NOERROR, NXDOMAIN, SERVFAIL, others.
pub type Counters = [u64; COLUMNS];

const OTHER_TYPE: usize = 4;
const NOT_IN: usize = 5;
const OK: usize = 6;
const NXDOMAIN: usize = 7;
const SERVFAIL: usize = 8;
const OTHER_RCODE: usize = 9;

const CLASS_IN: u16 = 1;

/// What is counted of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Type of the question.
    pub qtype: u16,
    /// Class of the question.
    pub qclass: u16,
    /// With the upper bits of EDNS.
    pub rcode: u16,
}

impl Answer {
    /// One counter of the types, one of the codes.
    pub(super) const fn columns(self) -> [usize; 2] {
        let of_type = match (self.qclass, self.qtype) {
            (CLASS_IN, 1) => 0,
            (CLASS_IN, 28) => 1,
            (CLASS_IN, 15) => 2,
            (CLASS_IN, 2) => 3,
            (CLASS_IN, _) => OTHER_TYPE,
            _ => NOT_IN,
        };
        let of_code = match self.rcode {
            0 => OK,
            3 => NXDOMAIN,
            2 => SERVFAIL,
            _ => OTHER_RCODE,
        };
        [of_type, of_code]
    }
}
