//! Unfolding of good and bad archives.

use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;

use super::*;
use crate::order::FailureKind;

const NO_LIMITS: Limits = Limits {
    download_bytes: 0,
    unpacked_bytes: 0,
    unpacked_entries: 0,
    http_timeout: Duration::ZERO,
    git_timeout: Duration::ZERO,
    s3_timeout: Duration::ZERO,
    attempts: 1,
    backoff: Duration::ZERO,
};

/// An archive of entries that no careful program would write.
#[derive(Default)]
struct Tarball(Vec<u8>);

impl Tarball {
    fn entry(mut self, kind: tar::EntryType, name: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        // The setters would refuse what is tried here.
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_mtime(1_000_000_000);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(tar::EntryType::Regular, name, "", 0o644, content.as_bytes())
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Symlink, name, target, 0o777, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(tar::EntryType::Link, name, target, 0o644, b"")
    }

    fn of(self, kind: tar::EntryType, name: &str) -> Self {
        self.entry(kind, name, "", 0o644, b"")
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(tar::EntryType::Directory, name, "", mode, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A directory to unfold in, with one beside it that must stay as it is.
struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        let ground = Self(TempDir::new().unwrap());
        fs::create_dir(ground.0.path().join("in")).unwrap();
        fs::write(ground.0.path().join("outside"), "untouched").unwrap();
        ground
    }

    fn unpack(&self, archive: Archive, bytes: &[u8], limits: Limits) -> Result<(), Failure> {
        let packed = self.0.path().join("packed");
        fs::write(&packed, bytes).unwrap();
        let result = unpack(archive, File::open(&packed).unwrap(), &Dir::open(&self.path("")).unwrap(), "one", &limits);
        fs::remove_file(packed).unwrap();
        result
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join("in").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn assert_nothing_escaped(&self, case: &str) {
        let mut names: Vec<_> = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["in", "outside"], "{case}");
        assert_eq!(fs::read_to_string(self.0.path().join("outside")).unwrap(), "untouched", "{case}");
    }
}

fn zipped(fill: impl FnOnce(&mut zip::ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut writer);
    writer.finish().unwrap().into_inner()
}

#[test]
fn a_tarball_keeps_contents_modes_times_and_inner_links() {
    let ground = Ground::new();
    let packed = Tarball::default()
        .directory("./", 0o755)
        .directory("d/", 0o500)
        .entry(tar::EntryType::Regular, "d/run", "", 0o6755, b"#!/bin/sh\n")
        .symlink("link", "d/run")
        .hard_link("d/twin", "d/run")
        .symlink("d/up", "../link")
        .file("deep/er/file", "x")
        .end();
    ground.unpack(Archive::Tar, &packed, NO_LIMITS).unwrap();
    let run = fs::metadata(ground.path("d/run")).unwrap();
    assert_eq!(run.permissions().mode() & 0o7777, 0o755, "no setuid");
    assert_eq!(run.mtime(), 1_000_000_000);
    assert_eq!(run.ino(), fs::metadata(ground.path("d/twin")).unwrap().ino());
    assert_eq!(fs::metadata(ground.path("d")).unwrap().permissions().mode() & 0o7777, 0o700);
    assert_eq!(ground.read("d/up"), "#!/bin/sh\n");
    assert_eq!(ground.read("deep/er/file"), "x");
}

#[test]
fn archives_that_reach_out_of_their_directory_are_refused() {
    let tar = Tarball::default;
    for (case, packed) in [
        ("leads out of it", tar().file("../outside", "evil")),
        ("leads out of it", tar().file("a/../../outside", "evil")),
        ("leads out of it", tar().directory("../new", 0o755)),
        ("absolute path", tar().file("/tmp/orch-evil", "evil")),
        ("leads out of it", tar().symlink("l", "../outside")),
        ("leads out of it", tar().symlink("l", "/etc/passwd")),
        ("leads out of it", tar().symlink("a/b/l", "../../../outside")),
        ("through a link", tar().directory("d", 0o755).symlink("l", "d").file("l/x", "evil")),
        ("through a link", tar().symlink("a/b", ".").hard_link("h", "a/b/x")),
        ("leads out of it", tar().hard_link("h", "../outside")),
        ("absolute path", tar().hard_link("h", "/etc/passwd")),
        ("no file of it", tar().symlink("l", "x").hard_link("h", "l")),
        ("no file of it", tar().hard_link("h", "missing")),
        ("device or a pipe", tar().of(tar::EntryType::Char, "null")),
        ("device or a pipe", tar().of(tar::EntryType::Block, "disk")),
        ("device or a pipe", tar().of(tar::EntryType::Fifo, "pipe")),
        ("something else", tar().file("d/x", "1").file("d", "2")),
        ("link or a file", tar().file("f", "1").file("f/x", "2")),
    ] {
        let ground = Ground::new();
        let failure = ground.unpack(Archive::Tar, &packed.end(), NO_LIMITS).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Content, "{case}: {failure:?}");
        assert!(failure.reason.contains(case), "{case}: {failure:?}");
        ground.assert_nothing_escaped(case);
    }
}

#[test]
fn a_file_replaces_a_link_and_is_not_written_through_it() {
    let ground = Ground::new();
    std::os::unix::fs::symlink("../outside", ground.path("x")).unwrap();
    fs::hard_link(ground.0.path().join("outside"), ground.path("y")).unwrap();
    let packed = Tarball::default().file("x", "new").file("y", "new").symlink("z", "x").file("z", "new").end();
    ground.unpack(Archive::Tar, &packed, NO_LIMITS).unwrap();
    assert_eq!([ground.read("x"), ground.read("y"), ground.read("z")], ["new", "new", "new"]);
    assert!(fs::symlink_metadata(ground.path("z")).unwrap().is_file());
    ground.assert_nothing_escaped("replaced");
}

#[test]
fn a_zip_keeps_contents_modes_and_inner_links_and_reaches_nowhere() {
    let file = SimpleFileOptions::default();
    let ground = Ground::new();
    let packed = zipped(|zip| {
        zip.add_directory("d", file).unwrap();
        zip.start_file("d/run", file.unix_permissions(0o4755)).unwrap();
        zip.write_all(b"#!/bin/sh\n").unwrap();
        zip.add_symlink("link", "d/run", file).unwrap();
    });
    ground.unpack(Archive::Zip, &packed, NO_LIMITS).unwrap();
    assert_eq!(ground.read("link"), "#!/bin/sh\n");
    assert_eq!(fs::metadata(ground.path("d/run")).unwrap().permissions().mode() & 0o7777, 0o755);

    for (name, target) in
        [("../outside", None), ("/tmp/orch-evil", None), ("l", Some("../outside")), ("l", Some("/etc"))]
    {
        let ground = Ground::new();
        let packed = zipped(|zip| match target {
            Some(target) => zip.add_symlink(name, target, file).unwrap(),
            None => zip.start_file(name, file).unwrap(),
        });
        let failure = ground.unpack(Archive::Zip, &packed, NO_LIMITS).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Content, "{name} {target:?}");
        ground.assert_nothing_escaped(name);
    }
}

#[test]
fn archives_that_unfold_to_more_than_allowed_are_stopped() {
    let zeros = vec![0; 4 << 20];
    let bomb = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
    let tar = Tarball::default().entry(tar::EntryType::Regular, "zeros", "", 0o644, &zeros).end();
    let many = (0..20).fold(Tarball::default(), |tar, number| tar.file(&format!("f{number}"), "")).end();
    let zip = zipped(|zip| {
        zip.start_file("zeros", SimpleFileOptions::default()).unwrap();
        zip.write_all(&zeros).unwrap();
    });
    let limits = Limits { unpacked_bytes: 1 << 20, unpacked_entries: 10, ..NO_LIMITS };
    for (archive, packed, setting) in [
        (Archive::TarZst, bomb(&tar), "decompression_size_limit"),
        (Archive::Zst, bomb(&zeros), "decompression_size_limit"),
        (Archive::Zip, zip, "decompression_size_limit"),
        (Archive::Tar, many, "decompression_file_count_limit"),
    ] {
        let ground = Ground::new();
        let failure = ground.unpack(archive, &packed, limits).unwrap_err();
        assert_eq!(failure.kind, FailureKind::TooLarge, "{archive:?}");
        assert!(failure.reason.contains(setting), "{failure:?}");
        let written: u64 = fs::read_dir(ground.path("")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(written <= 1 << 20, "{archive:?} wrote {written} bytes");
        ground.unpack(archive, &packed, NO_LIMITS).unwrap();
    }
}

#[test]
fn damaged_archives_are_refused() {
    let whole = Tarball::default().file("f", &"content".repeat(1000)).end();
    let packed = zstd::encode_all(&whole[..], 1).unwrap();
    for (archive, bytes) in [
        (Archive::Tar, b"this is no archive, however long it may be".repeat(20)),
        (Archive::Tar, whole[..2000].to_vec()),
        (Archive::TarZst, packed[..packed.len() - 10].to_vec()),
        (Archive::TarGz, whole.clone()),
        (Archive::TarXz, whole.clone()),
        (Archive::Zip, whole.clone()),
        (Archive::Gz, b"text".to_vec()),
        (Archive::Xz, b"text".to_vec()),
        (Archive::Zst, b"text".to_vec()),
    ] {
        let failure = Ground::new().unpack(archive, &bytes, NO_LIMITS).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Content, "{archive:?}: {failure:?}");
    }
}
