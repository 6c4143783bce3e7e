job "one" {
  priority = 50
  group "a" {
    count = { a = 1 }
    scaling {
      min = 1
    }
    volume "v" {
      type   = "host"
      source = "s"
    }
    volume "v" {
      type   = "host"
      source = "t"
    }
    task "t" {
      driver = "raw_exec"
      env {
        A = "b"
      }
      env = {
        B = "c"
      }
      scaling "disk" {
        max = 1
      }
      constraint {
        attribute = "${attr.x}"
        version   = ">= 1"
        regexp    = "x"
      }
      template {
        data        = "x"
        destination = "local/x"
        change_mode = "script"
        change_script {
          args = ["x"]
        }
      }
    }
  }
}
job "two" {
}
resource "x" {
}
