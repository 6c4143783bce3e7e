variable "n" {
  default = 3
}
job "web" {
  group "app" {
    count = 2.5
    meta {
      a = nosuch("x")
      b = var.missing
      c = file("/etc/hostname")
    }
    task "t" {
      driver = "raw_exec"
      config {
        command = local.missing
      }
    }
  }
}
