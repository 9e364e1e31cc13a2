package agent

import "github.com/holt-project/holt/internal/folder"

// lock takes the data folder for this process. The lock ends with the process, however it ends.
func (c *Config) lock() (release func(), err error) { return folder.Lock(c.DataDir, "agent") }
