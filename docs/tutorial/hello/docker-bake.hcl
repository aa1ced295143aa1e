# Two images, built together: the example, and its program alone.

variable "CFLAGS" {
  default = "-O2"
}

group "default" {
  targets = ["hello", "program"]
}

target "hello" {
  args = { CFLAGS = CFLAGS }
  tags = ["hello"]
}

target "program" {
  contexts          = { hello = "target:hello" }
  dockerfile-inline = <<-EOT
    FROM scratch
    COPY --from=hello /usr/bin/hello /
    ENTRYPOINT ["/hello"]
  EOT
  tags              = ["hello-program"]
}
