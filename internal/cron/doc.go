// Package cron reads the schedules of CronJobs and says when they are due.
//
// A schedule has the five fields of cron(5), "minute hour day-of-month month day-of-week", each a list of ranges with
// steps, or is one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly and "@every 90m". A Schedule does
// not change; any goroutine may use it.
package cron
