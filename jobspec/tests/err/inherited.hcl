# What a group or a task inherits is shown where it was written.
job "web" {
  update {
    healthy_deadline = "20m"
    canary           = 1
  }
  vault {
    change_mode = "sometimes"
  }
  group "app" {
    restart {
      attempts = 10
      delay    = "1m"
      interval = "5m"
    }
    task "server" {
      driver = "raw_exec"
    }
  }
}
