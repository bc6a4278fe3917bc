package health_test

import (
	"context"
	"fmt"
	"time"

	"iomux/apps/echo/health"
)

func ExampleChecker() {
	ctx, cancel := context.WithCancel(context.Background())
	c, err := health.New(health.Config{
		Check:    "exit 3",
		Interval: time.Second,
		Timeout:  time.Minute,
		OnChange: func(well bool, cause error) {
			fmt.Println(well, cause)
			cancel()
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Run(ctx)
	// Output: false the command ended with exit status 3
}
