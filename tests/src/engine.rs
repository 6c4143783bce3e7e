//! An engine and a registry of the test's own, in namespaces of their own.
//!
//! Processes, network and mounts of both are in namespaces that end with the test's process, however that ends: the first process there
//! reads commands from a pipe that only the test holds, and the kernel kills all others when it ends.

#![allow(clippy::unwrap_used, reason = "a test that cannot have its engine fails")]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// The image that every test has: a shell with the usual commands.
pub const IMAGE: &str = "orch/busybox:1";
/// The registry wants this user and password.
pub const USER: &str = "alice";
/// Base64 of this has letters that differ between its alphabets.
pub const PASSWORD: &str = "s3cret~~~???>>>";
/// Where the registry listens, in the engine's network.
pub const REGISTRY: &str = "127.0.0.1:5000";

/// What directories and control groups of tests are called.
const PREFIX: &str = "orch-docker-test-";

const INIT: &str = r#"
dir=$1 group=$2
ip link set lo up
docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
engine() {
    rm -f "$dir/engine.pid"
    dockerd -H "unix://$dir/docker.sock" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/engine.pid" \
        --cgroup-parent "/$group" --live-restore --storage-driver overlay2 >>"$dir/engine.log" 2>&1 &
    engine=$!
}
engine
while read -r command; do
    case $command in
        start) engine ;;
        stop) kill -TERM $engine; wait $engine; echo stopped ;;
        freeze) kill -STOP $engine; echo frozen ;;
        thaw) kill -CONT $engine; echo thawed ;;
    esac
done
# All but this process, which is the first of its namespace.
kill -KILL -1
wait
for mount in $(cut -d' ' -f5 /proc/self/mountinfo | grep "^$dir/" | sort -r); do umount -l "$mount"; done
find /sys/fs/cgroup -depth -type d -path "*/$group*" -exec rmdir {} + 2>/dev/null
rm -rf "$dir"
"#;

/// An engine, and a registry beside it.
#[derive(Debug)]
pub struct Engine {
    /// Where both have their files.
    pub dir: PathBuf,
    init: Mutex<(Child, Option<ChildStdin>)>,
}

/// The engine that the tests of this process share.
pub fn shared() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(Engine::start)
}

impl Engine {
    /// Starts an engine with [`IMAGE`] and a registry with the same under `p/busybox:1`.
    pub fn start() -> Self {
        clear_leftovers();
        let name = format!("{PREFIX}{}-{}", std::process::id(), uuid::Uuid::new_v4().simple());
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir(&dir).unwrap();
        write_registry_config(&dir);
        let mut init = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", "--net", "--mount", "--kill-child", "sh", "-c", INIT, "init"])
            .args([dir.as_os_str(), name.as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let commands = init.stdin.take();
        let engine = Self { dir, init: Mutex::new((init, commands)) };
        engine.wait_until_it_answers();
        engine.import();
        engine
    }

    /// The engine's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The same as the driver's configuration names it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs the engine's own client, which has to succeed; what it wrote.
    pub fn docker(&self, args: &[&str]) -> String {
        let output = self.try_docker(args);
        output.unwrap_or_else(|error| panic!("docker {args:?}: {error}\n{}", self.log()))
    }

    /// Runs the engine's own client; what it wrote, or what it complained of.
    pub fn try_docker(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("docker")
            .args(args)
            .env("DOCKER_HOST", self.endpoint())
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .stdin(Stdio::null())
            .output()
            .expect("docker is installed");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Runs a command in the engine's network.
    pub fn in_network(&self, args: &[&str]) -> Option<String> {
        let pid = self.init.lock().unwrap().0.id().to_string();
        let output = Command::new("nsenter").args(["-t", &pid, "-n", "--"]).args(args).output().unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Moves the calling thread, and what it starts from now on, into the engine's network.
    pub fn enter_network(&self) {
        let pid = self.init.lock().unwrap().0.id();
        let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        nix::sched::setns(network, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    }

    fn tell(&self, command: &str) {
        writeln!(self.init.lock().unwrap().1.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Ends the engine; containers go on.
    pub fn stop(&self) {
        self.tell("stop");
        wait_for("the engine to end", || UnixStream::connect(self.socket()).is_err().then_some(()));
    }

    /// Starts it after [`Self::stop`].
    pub fn start_again(&self) {
        self.tell("start");
        self.wait_until_it_answers();
    }

    /// Stops the engine in its tracks: it takes connections, and answers nothing.
    pub fn freeze(&self) {
        self.tell("freeze");
        let pid = self.dir.join("engine.pid");
        wait_for("the engine to stand still", || {
            let inside: u32 = std::fs::read_to_string(&pid).ok()?.trim().parse().ok()?;
            let mut entries = std::fs::read_dir("/proc").ok()?.flatten();
            let stands = |path: PathBuf| {
                let status = std::fs::read_to_string(path.join("status")).unwrap_or_default();
                let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
                status.starts_with("Name:\tdockerd")
                    && numbers.split_whitespace().last() == Some(&inside.to_string())
                    && status.contains("State:\tT")
            };
            entries.any(|entry| stands(entry.path())).then_some(())
        });
    }

    /// Lets it go on after [`Self::freeze`].
    pub fn thaw(&self) {
        self.tell("thaw");
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&self) {
        let began = Instant::now();
        while self.try_docker(&["version"]).is_err() {
            assert!(began.elapsed() < DEADLINE, "the engine does not answer:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("engine.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Makes the image of a static busybox, and pushes it to the registry.
    fn import(&self) {
        let root = self.dir.join("rootfs");
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
        let list = Command::new("/bin/busybox").arg("--list").output().unwrap();
        for name in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        std::fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n").unwrap();
        let archive = self.dir.join("rootfs.tar");
        let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&root).arg(".").status().unwrap();
        assert!(packed.success());
        let archive = archive.to_str().unwrap();
        self.docker(&["import", "--change", "CMD [\"sh\"]", "--change", "ENV PATH=/bin", archive, IMAGE]);
    }

    /// Puts [`IMAGE`] into the registry under `name`; the digest that it has there.
    pub fn push(&self, name: &str) -> String {
        let name = format!("{REGISTRY}/{name}");
        wait_for("the registry", || self.try_docker(&["login", "-u", USER, "-p", PASSWORD, REGISTRY]).ok());
        self.docker(&["tag", IMAGE, &name]);
        self.docker(&["push", "-q", &name]);
        let digests = self.docker(&["image", "inspect", "-f", "{{join .RepoDigests \" \"}}", &name]);
        self.docker(&["rmi", "--no-prune", &name]);
        let of_name = digests.split(' ').find(|digest| digest.starts_with(REGISTRY)).unwrap();
        of_name.split_once('@').unwrap().1.to_owned()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let (init, commands) = &mut *self.init.lock().unwrap();
        // It reads the end of its commands, and ends with everything in its namespaces.
        drop(commands.take());
        init.wait().unwrap();
        clear(&self.dir);
    }
}

fn write_registry_config(dir: &Path) {
    let htpasswd = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().expect("htpasswd is installed");
    std::fs::write(dir.join("htpasswd"), htpasswd.stdout).unwrap();
    let (storage, users) = (dir.join("registry"), dir.join("htpasswd"));
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {REGISTRY}}}\n\
         auth: {{htpasswd: {{realm: orch, path: {}}}}}\n",
        storage.display(),
        users.display()
    );
    std::fs::write(dir.join("registry.yml"), config).unwrap();
}

/// Removes what tests left whose process was killed.
fn clear_leftovers() {
    for entry in std::fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            clear(&entry.path());
        }
    }
}

/// Removes the files and control groups of an engine that has ended. Another process may be about the same.
fn clear(dir: &Path) {
    let group = dir.file_name().unwrap().to_str().unwrap();
    let script = "find /sys/fs/cgroup -depth -type d -path \"*/$1*\" -exec rmdir {} + 2>/dev/null; rm -rf \"$2\"";
    let cleared = Command::new("sh").args(["-c", script, "clear", group]).arg(dir).status();
    assert!(cleared.is_ok());
}

fn wait_for<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
