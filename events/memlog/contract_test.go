package memlog_test

import (
	"sync/atomic"
	"testing"
	"time"

	"curfew/events"
	"curfew/events/logtest"
	"curfew/events/memlog"
)

func TestContract(t *testing.T) {
	logtest.Run(t, func(*testing.T) logtest.Harness {
		log := memlog.New(time.Now)
		return logtest.Harness{Log: log, Put: func(m events.Message) { log.Put(m) }}
	})
}

func TestContractFaults(t *testing.T) {
	logtest.RunFaults(t, func(*testing.T) logtest.Faulty {
		log := memlog.New(time.Now)
		var lose atomic.Bool
		log.Fail = func(events.Event) memlog.Fault {
			if lose.Swap(false) {
				return memlog.AnswerLost
			}
			return memlog.None
		}
		return logtest.Faulty{
			Log:        log,
			LoseAnswer: func() { lose.Store(true) },
			Stop:       log.Stop,
			Start:      log.Start,
			Wipe:       log.Wipe,
		}
	})
}
