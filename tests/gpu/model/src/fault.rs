// SPDX-License-Identifier: GPL-2.0
//! Faults that tests arm at run time.

use gpu_regs::referee::{fault, ANY, MAX_FAULTS};

/// An armed fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which, see [`gpu_regs::referee::fault`].
    pub kind: u32,
    /// Slot of the function it is for, [`ANY`] for all.
    pub slot: u32,
    /// Command it is for, 0 for all.
    pub cmd: u32,
    /// Argument: microseconds for LATE.
    pub arg: u32,
    /// How often it strikes, [`ANY`] for always.
    pub count: u32,
}

/// Names of the kinds, for the emulator's command line and QMP.
const KINDS: [(&str, u32); 8] = [
    ("never-completes", fault::NEVER_COMPLETES),
    ("late", fault::LATE),
    ("gfx-hang", fault::GFX_HANG),
    ("sdma-hang", fault::SDMA_HANG),
    ("lost-interrupt", fault::LOST_INTERRUPT),
    ("corrupt-context", fault::CORRUPT_CONTEXT),
    ("never-idles", fault::NEVER_IDLES),
    ("pf-dead", fault::PF_DEAD),
];

impl Fault {
    /// Reads `KIND[,fn=pf|vfN|any][,cmd=N][,us=N][,count=N|any]`; all functions, all commands
    /// and once where nothing is said.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(str::trim);
        let name = parts.next()?;
        let kind = KINDS.iter().find(|k| k.0 == name)?.1;
        let mut f = Self {
            kind,
            slot: ANY,
            cmd: 0,
            arg: 0,
            count: 1,
        };
        for p in parts {
            match p.split_once('=')? {
                ("fn", "any") => f.slot = ANY,
                ("fn", "pf") => f.slot = 0,
                ("fn", vf) => {
                    f.slot = vf.strip_prefix("vf")?.parse::<u32>().ok()?.checked_add(1)?
                }
                ("cmd", n) => f.cmd = n.parse().ok()?,
                ("us", n) => f.arg = n.parse().ok()?,
                ("count", "any") => f.count = ANY,
                ("count", n) => f.count = n.parse().ok()?,
                _ => return None,
            }
        }
        Some(f)
    }
}

/// All armed faults, in the order in which they were armed.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    hits: u64,
}

impl Faults {
    /// Arms a fault; `false` if it is not known or there are too many.
    pub(crate) fn arm(&mut self, f: Fault) -> bool {
        let known = (fault::NEVER_COMPLETES..=fault::PF_DEAD).contains(&f.kind);
        if !known || f.count == 0 || self.list.len() >= MAX_FAULTS {
            return false;
        }
        self.list.push(f);
        true
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
    }

    /// Faults that are armed.
    pub(crate) fn armed(&self) -> usize {
        self.list.len()
    }

    /// Whether one of this kind is armed for all times to come.
    pub(crate) fn lasts(&self, kind: u32) -> bool {
        self.list.iter().any(|f| f.kind == kind && f.count == ANY)
    }

    /// Faults that have struck.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }

    /// Uses up one strike of a matching fault; its argument if there was one.
    pub(crate) fn strike(&mut self, kind: u32, slot: usize, cmd: u8) -> Option<u32> {
        let i = self.list.iter().position(|f| {
            f.kind == kind
                && (f.slot == ANY || f.slot as usize == slot)
                && (f.cmd == 0 || cmd == 0 || f.cmd == u32::from(cmd))
        })?;
        let f = self.list.get_mut(i)?;
        let arg = f.arg;
        if f.count != ANY {
            f.count -= 1;
            if f.count == 0 {
                self.list.remove(i);
            }
        }
        self.hits += 1;
        Some(arg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_text() {
        let f = Fault::parse("late,fn=vf3,cmd=1,us=500,count=any").unwrap();
        assert_eq!(
            f,
            Fault {
                kind: fault::LATE,
                slot: 4,
                cmd: 1,
                arg: 500,
                count: ANY
            }
        );
        let f = Fault::parse("pf-dead, fn=pf").unwrap();
        assert_eq!(
            f,
            Fault {
                kind: fault::PF_DEAD,
                slot: 0,
                cmd: 0,
                arg: 0,
                count: 1
            }
        );
        for bad in [
            "",
            "late,",
            "late,fn=3",
            "late,us=x",
            "early",
            "late,fn=vf4294967295",
        ] {
            assert_eq!(Fault::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_fault_strikes_as_often_as_it_says_and_only_where_it_should() {
        let mut f = Faults::default();
        let late = Fault {
            kind: fault::LATE,
            slot: 2,
            cmd: 3,
            arg: 50,
            count: 2,
        };
        assert!(f.arm(late));
        assert!(!f.arm(Fault { kind: 99, ..late }));
        assert!(!f.arm(Fault { count: 0, ..late }));
        assert_eq!(f.strike(fault::LATE, 1, 3), None);
        assert_eq!(f.strike(fault::LATE, 2, 4), None);
        assert_eq!(f.strike(fault::GFX_HANG, 2, 3), None);
        assert_eq!(f.strike(fault::LATE, 2, 3), Some(50));
        assert_eq!(f.strike(fault::LATE, 2, 3), Some(50));
        assert_eq!(f.strike(fault::LATE, 2, 3), None);
        assert_eq!((f.armed(), f.hits()), (0, 2));
        assert!(f.arm(Fault {
            slot: ANY,
            cmd: 0,
            count: ANY,
            ..late
        }));
        assert!(f.lasts(fault::LATE) && !f.lasts(fault::GFX_HANG));
        for slot in 0..100 {
            assert!(f.strike(fault::LATE, slot % 17, (slot % 8) as u8).is_some());
        }
        f.clear();
        assert_eq!(f.armed(), 0);
        assert!(!f.lasts(fault::LATE));
    }
}
