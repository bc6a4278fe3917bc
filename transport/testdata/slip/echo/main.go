// Command echo is iomux's echo, with one more network: slip.
package main

import (
	"os"

	_ "example.org/slip"
	"iomux/apps/echo/cmd"
)

func main() { os.Exit(cmd.Main()) }
