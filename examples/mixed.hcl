# Four kinds of tasks in one group: a container, an isolated binary, a plain one, and a WebAssembly component.
# "page" asks the other three over their ports and shows what they said. Needs root, a Docker engine, redis-server and python3.
job "mixed" {
  group "site" {
    network {
      port "page" {}
      port "store" {
        to = 8080
      }
      port "cache" {}
      port "front" {}
    }

    # A container. Its files come from a template, and are in the container under /local.
    task "store" {
      driver = "docker"
      config {
        image   = "busybox:1.36"
        command = "httpd"
        args    = ["-f", "-p", "8080", "-h", "/local/www"]
        ports   = ["store"]
      }
      template {
        destination = "local/www/index.html"
        data        = "stored by {{ env \"NOMAD_TASK_NAME\" }} of {{ env \"NOMAD_JOB_NAME\" }}\n"
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }

    # A program of the host that sees nothing of the host but its own directories and, read-only, the system's.
    task "cache" {
      driver = "exec"
      config {
        command = "redis-server"
        args    = ["--port", "${NOMAD_PORT_cache}", "--bind", "${NOMAD_IP_cache}", "--dir", "/alloc/data", "--save", ""]
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }

    # A component of WASI 0.2 that answers requests; each gets an instance of its own.
    task "front" {
      driver = "wasm"
      config {
        module = "front.wat"
        port   = "front"
      }
      resources {
        cpu    = 100
        memory = 64
      }
      template {
        destination = "local/front.wat"
        data        = <<-EOF
          (component
            (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
            (alias export $errors "error" (type $error))
            (import "wasi:io/streams@0.2.0" (instance $streams
              (alias outer 1 $error (type $outer))
              (export "error" (type $error (eq $outer)))
              (export "output-stream" (type $stream (sub resource)))
              (type $why (variant (case "last-operation-failed" (own $error)) (case "closed")))
              (export "stream-error" (type $failure (eq $why)))
              (export "[method]output-stream.blocking-write-and-flush" (func
                (param "self" (borrow $stream)) (param "contents" (list u8)) (result (result (error $failure)))))))
            (alias export $streams "output-stream" (type $stream))
            (import "wasi:http/types@0.2.0" (instance $types
              (alias outer 1 $stream (type $outer))
              (export "output-stream" (type $stream (eq $outer)))
              (export "fields" (type $fields (sub resource)))
              (export "incoming-request" (type $request (sub resource)))
              (export "outgoing-response" (type $response (sub resource)))
              (export "outgoing-body" (type $body (sub resource)))
              (export "response-outparam" (type $out (sub resource)))
              (type $dns (record (field "rcode" (option string)) (field "info-code" (option u16))))
              (export "DNS-error-payload" (type $DNS (eq $dns)))
              (type $tls (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
              (export "TLS-alert-received-payload" (type $TLS (eq $tls)))
              (type $size (record (field "field-name" (option string)) (field "field-size" (option u32))))
              (export "field-size-payload" (type $SIZE (eq $size)))
              (type $code (variant
                (case "DNS-timeout") (case "DNS-error" $DNS) (case "destination-not-found")
                (case "destination-unavailable") (case "destination-IP-prohibited") (case "destination-IP-unroutable")
                (case "connection-refused") (case "connection-terminated") (case "connection-timeout")
                (case "connection-read-timeout") (case "connection-write-timeout") (case "connection-limit-reached")
                (case "TLS-protocol-error") (case "TLS-certificate-error") (case "TLS-alert-received" $TLS)
                (case "HTTP-request-denied") (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
                (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid") (case "HTTP-request-URI-too-long")
                (case "HTTP-request-header-section-size" (option u32)) (case "HTTP-request-header-size" (option $SIZE))
                (case "HTTP-request-trailer-section-size" (option u32)) (case "HTTP-request-trailer-size" $SIZE)
                (case "HTTP-response-incomplete") (case "HTTP-response-header-section-size" (option u32))
                (case "HTTP-response-header-size" $SIZE) (case "HTTP-response-body-size" (option u64))
                (case "HTTP-response-trailer-section-size" (option u32)) (case "HTTP-response-trailer-size" $SIZE)
                (case "HTTP-response-transfer-coding" (option string)) (case "HTTP-response-content-coding" (option string))
                (case "HTTP-response-timeout") (case "HTTP-upgrade-failed") (case "HTTP-protocol-error")
                (case "loop-detected") (case "configuration-error") (case "internal-error" (option string))))
              (export "error-code" (type $CODE (eq $code)))
              (export "[constructor]fields" (func (result (own $fields))))
              (export "[constructor]outgoing-response" (func (param "headers" (own $fields)) (result (own $response))))
              (export "[method]outgoing-response.body" (func (param "self" (borrow $response)) (result (result (own $body)))))
              (export "[method]outgoing-body.write" (func (param "self" (borrow $body)) (result (result (own $stream)))))
              (export "[static]outgoing-body.finish" (func
                (param "this" (own $body)) (param "trailers" (option (own $fields))) (result (result (error $CODE)))))
              (export "[static]response-outparam.set" (func
                (param "param" (own $out)) (param "response" (result (own $response) (error $CODE)))))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))

            (core module $memory (memory (export "memory") 1)
              (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
              (data (i32.const 64) "answered by a component\n"))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $mem))
            (alias core export $memory "realloc" (core func $realloc))

            (core func $fields.new (canon lower (func $types "[constructor]fields")))
            (core func $response.new (canon lower (func $types "[constructor]outgoing-response")))
            (core func $response.body (canon lower (func $types "[method]outgoing-response.body")
              (memory $mem)))
            (core func $body.write (canon lower (func $types "[method]outgoing-body.write") (memory $mem)))
            (core func $body.finish (canon lower (func $types "[static]outgoing-body.finish")
              (memory $mem) (realloc $realloc)))
            (core func $out.set (canon lower (func $types "[static]response-outparam.set")
              (memory $mem)))
            (core func $stream.write (canon lower
              (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
            (core func $stream.drop (canon resource.drop $stream))
            (core module $main
              (import "" "memory" (memory 1))
              (import "" "fields.new" (func $fields.new (result i32)))
              (import "" "response.new" (func $response.new (param i32) (result i32)))
              (import "" "response.body" (func $response.body (param i32 i32)))
              (import "" "body.write" (func $body.write (param i32 i32)))
              (import "" "body.finish" (func $body.finish (param i32 i32 i32 i32)))
              (import "" "out.set" (func $out.set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
              (import "" "stream.write" (func $stream.write (param i32 i32 i32 i32)))
              (import "" "stream.drop" (func $stream.drop (param i32)))
              (func (export "handle") (param $request i32) (param $out i32) (local $response i32) (local $body i32) (local $stream i32)
                (local.set $response (call $response.new (call $fields.new)))
                (call $response.body (local.get $response) (i32.const 0))
                (local.set $body (i32.load (i32.const 4)))
                (call $body.write (local.get $body) (i32.const 0))
                (local.set $stream (i32.load (i32.const 4)))
                (call $out.set (local.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0)
                  (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                (call $stream.write (local.get $stream) (i32.const 64) (i32.const 24) (i32.const 0))
                (call $stream.drop (local.get $stream))
                (call $body.finish (local.get $body) (i32.const 0) (i32.const 0) (i32.const 0))))
            (core instance $main (instantiate $main (with "" (instance
              (export "memory" (memory $mem))
              (export "fields.new" (func $fields.new)) (export "response.new" (func $response.new))
              (export "response.body" (func $response.body)) (export "body.write" (func $body.write))
              (export "body.finish" (func $body.finish)) (export "out.set" (func $out.set))
              (export "stream.write" (func $stream.write)) (export "stream.drop" (func $stream.drop))))))
            (alias core export $main "handle" (core func $answer))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
              (canon lift (core func $answer)))
            (component $handler
              (import "request" (type $request (sub resource)))
              (import "out" (type $out (sub resource)))
              (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $out))))
              (export "handle" (func $handle)))
            (instance $handler (instantiate $handler
              (with "request" (type $request)) (with "out" (type $out)) (with "handle" (func $handle))))
            (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
        EOF
      }
    }

    # A plain process.
    task "page" {
      driver = "raw_exec"
      config {
        command = "python3"
        args    = ["${NOMAD_TASK_DIR}/page.py"]
      }
      template {
        destination = "local/page.py"
        data        = <<-EOF
          import http.server, os, socket, urllib.request

          def of(label):
              return os.environ["NOMAD_ADDR_" + label]

          def fetch(label):
              return urllib.request.urlopen("http://" + of(label) + "/", timeout=5).read().decode()

          def ping(label):
              host, port = of(label).rsplit(":", 1)
              with socket.create_connection((host, int(port)), timeout=5) as redis:
                  redis.sendall(b"PING\r\n")
                  return redis.recv(100).decode()

          class Page(http.server.BaseHTTPRequestHandler):
              def do_GET(self):
                  text = "store: " + fetch("store") + "cache: " + ping("cache") + "front: " + fetch("front")
                  self.send_response(200)
                  self.end_headers()
                  self.wfile.write(text.encode())

          host, port = of("page").rsplit(":", 1)
          http.server.ThreadingHTTPServer((host, int(port)), Page).serve_forever()
        EOF
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
