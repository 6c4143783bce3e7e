//! Certificates.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use orch_artifact::{Error, Request};

use crate::world::World;

const SERVE: &str = "
import http.server, ssl, sys
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert', 'key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

struct Https(Child, String);

impl Https {
    /// Serves `<world>/served` with a certificate that nobody vouches for.
    fn start(world: &World) -> Self {
        let dir = world.path("served");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("hello"), "hello\n").unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-keyout",
                "key",
                "-out",
                "cert",
            ])
            .current_dir(&dir)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut child = Command::new("python3")
            .args(["-c", SERVE])
            .current_dir(&dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, format!("https://localhost:{}/hello", port.trim()))
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_taken_only_when_insecure() {
    let world = World::new();
    let server = Https::start(&world);
    let error = world.refused(world.request(&server.1)).await;
    assert!(matches!(error, Error::Fetch { .. }), "{error}");
    assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    world.fetch(Request { insecure: true, ..world.request(&server.1) }).await.unwrap();
    assert_eq!(fs::read_to_string(world.local("hello")).unwrap(), "hello\n");
}
