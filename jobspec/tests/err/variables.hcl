variable "unset" {
  type = string
}
variable "wrong" {
  type    = number
  default = "many"
}
job "web" {
  group "app" {
    task "t" {
      driver = "raw_exec"
      env {
        A = var.missing
      }
    }
  }
}
