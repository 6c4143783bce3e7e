//! Address ranges: `cidrhost cidrnetmask cidrsubnet cidrsubnets`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Call, CallFault, Function, MANY, Outcome, function};
use crate::number::Number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("cidrhost", 2, 2, cidrhost),
    function("cidrnetmask", 1, 1, cidrnetmask),
    function("cidrsubnet", 3, 3, cidrsubnet),
    function("cidrsubnets", 1, MANY, cidrsubnets),
];

/// An address range as numbers: its first address, how many bits are fixed, and how many an address has.
#[derive(Debug, Clone, Copy)]
struct Range {
    first: u128,
    prefix: u32,
    bits: u32,
}

impl Range {
    fn argument(call: &mut Call<'_>) -> Result<Self, CallFault> {
        let text = call.string(0)?;
        let net: IpNet =
            text.parse().map_err(|_| call.fault(0, format!("`{text}` is not an address range such as 10.0.0.0/24")))?;
        let (first, bits) = match net.trunc().addr() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
            IpAddr::V6(address) => (u128::from(address), 128),
        };
        Ok(Self { first, prefix: u32::from(net.prefix_len()), bits })
    }

    fn address(&self, value: u128) -> String {
        match u32::try_from(value) {
            Ok(value) if self.bits == 32 => std::net::Ipv4Addr::from(value).to_string(),
            _ => std::net::Ipv6Addr::from(value).to_string(),
        }
    }

    fn text(&self) -> String {
        format!("{}/{}", self.address(self.first), self.prefix)
    }

    /// The last address.
    fn last(&self) -> u128 {
        self.first | mask(self.bits - self.prefix)
    }

    fn narrower(&self, new_bits: u32) -> Result<u32, CallFault> {
        let prefix = self.prefix.saturating_add(new_bits);
        if prefix > self.bits {
            return Err(format!("{} has no room for {new_bits} more bits", self.text()).into());
        }
        Ok(prefix)
    }
}

/// So many ones at the low end.
fn mask(bits: u32) -> u128 {
    1u128.checked_shl(bits).map_or(u128::MAX, |value| value - 1)
}

fn whole(call: &Call<'_>, index: usize) -> Result<i128, CallFault> {
    match call.number(index)? {
        Number::Int(number) => Ok(number),
        Number::Float(_) => Err(call.fault(index, format!("argument {} must be a whole number", index + 1))),
    }
}

fn bits(call: &Call<'_>, index: usize) -> Result<u32, CallFault> {
    u32::try_from(whole(call, index)?)
        .ok()
        .filter(|bits| *bits <= 128)
        .ok_or_else(|| call.fault(index, "the number of bits must be from 0 to 128"))
}

/// A negative number counts from the end.
fn cidrhost(call: &mut Call<'_>) -> Outcome {
    let number = whole(call, 1)?;
    let range = Range::argument(call)?;
    let offset = number.unsigned_abs();
    let available = range.last() - range.first;
    let fits = if number < 0 { offset - 1 <= available } else { offset <= available };
    if !fits {
        return Err(call.fault(1, format!("{} has no host number {number}", range.text())));
    }
    let address = if number < 0 { range.last() - (offset - 1) } else { range.first + offset };
    Ok(range.address(address).into())
}

fn cidrnetmask(call: &mut Call<'_>) -> Outcome {
    let range = Range::argument(call)?;
    if range.bits != 32 {
        return Err(call.fault(0, "only IPv4 ranges have a netmask"));
    }
    Ok(range.address(mask(32) ^ mask(32 - range.prefix)).into())
}

fn cidrsubnet(call: &mut Call<'_>) -> Outcome {
    let (new_bits, number) = (bits(call, 1)?, whole(call, 2)?);
    let range = Range::argument(call)?;
    let prefix = range.narrower(new_bits)?;
    let number = u128::try_from(number)
        .ok()
        .filter(|number| *number <= mask(new_bits))
        .ok_or_else(|| call.fault(2, format!("{new_bits} bits have no network number {number}")))?;
    let offset = number.checked_shl(range.bits - prefix).unwrap_or(0);
    Ok(Range { first: range.first | offset, prefix, bits: range.bits }.text().into())
}

/// Consecutive ranges, each of its own size.
fn cidrsubnets(call: &mut Call<'_>) -> Outcome {
    let sizes = (1..call.count()).map(|index| bits(call, index)).collect::<Result<Vec<_>, _>>()?;
    let range = Range::argument(call)?;
    let mut next = Some(range.first);
    let mut subnets = Vec::new();
    for new_bits in sizes {
        let prefix = range.narrower(new_bits)?;
        let size = mask(range.bits - prefix);
        let aligned = next.and_then(|next| next.checked_add(size)).map(|end| end & !size);
        let Some(first) = aligned.filter(|first| *first <= range.last()) else {
            return Err(format!("{} has no room for all of these", range.text()).into());
        };
        let subnet = Range { first, prefix, bits: range.bits };
        subnets.push(Value::String(subnet.text()));
        next = subnet.last().checked_add(1);
    }
    Ok(Value::List(subnets))
}
