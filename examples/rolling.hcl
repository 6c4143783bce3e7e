# A web server that can be changed while it is used: its copies are replaced one by one.
#
# Change `greeting` and run it again; `job run` follows the deployment to its end:
#
#   orch job run rolling.hcl
#   orch job run -var greeting=bonjour rolling.hcl
#   orch job history -p rolling
#   orch job revert rolling 0
variable "greeting" {
  type    = string
  default = "hello"
}

locals {
  server = <<-PYTHON
    import os
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    answer = f"{os.environ['GREETING']} from {os.environ['NOMAD_ALLOC_NAME']}\n".encode()

    class Greeter(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    at = (os.environ["NOMAD_IP_http"], int(os.environ["NOMAD_PORT_http"]))
    ThreadingHTTPServer(at, Greeter).serve_forever()
  PYTHON
}

job "rolling" {
  type = "service"

  # The next copy is replaced once the one before has run well for two seconds. A version that gets nowhere for a minute
  # is given up, and the job goes back to the last one that worked.
  update {
    max_parallel      = 1
    min_healthy_time  = "2s"
    healthy_deadline  = "30s"
    progress_deadline = "1m"
    auto_revert       = true
  }

  group "server" {
    count = 3

    # Whoever finds copies by the API has this long to stop using one that is about to end.
    shutdown_delay = "1s"

    network {
      port "http" {}
    }

    restart {
      attempts = 1
      interval = "1m"
      delay    = "1s"
      mode     = "fail"
    }

    # What failed for good is tried elsewhere, ever more patiently.
    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "5m"
      unlimited      = true
    }

    task "python" {
      driver = "raw_exec"

      config {
        command = "python3"
        args    = ["-c", local.server]
      }

      env {
        GREETING = var.greeting
      }

      resources {
        cpu    = 50
        memory = 32
      }
    }
  }
}
