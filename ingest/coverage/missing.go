package coverage

import (
	"slices"
	"time"
)

// missing adds what is expected and has never spoken.
func (j *judge) missing(streams []*Stream) {
	have := map[string]bool{}
	vpcs := map[Key]bool{}  // of flow logs, without their source
	names := map[Key]bool{} // accounts and regions whose flow logs name their VPC
	for _, s := range streams {
		if s.Source == digests {
			continue
		}
		have[partID(OfAccount, Key{Log: s.Log, Account: s.Account})] = true
		have[partID(OfRegion, Key{Log: s.Log, Account: s.Account, Region: s.Region})] = true
		if s.Log == "flow" && s.VPC != "" {
			vpcs[Key{VPC: s.VPC}] = true
			names[Key{Account: s.Account, Region: s.Region}] = true
		}
	}
	lack := func(l Level, k Key) {
		p := Part{Level: l, Key: k, State: Missing, Expected: true}
		if slices.ContainsFunc(j.want.Ignore, func(i Place) bool { return i.holds(k) }) {
			p.State = Ignored
		}
		j.parts = append(j.parts, p)
	}
	for _, log := range j.want.Telemetry {
		for _, account := range j.want.Accounts {
			if k := (Key{Log: log, Account: account}); !have[partID(OfAccount, k)] {
				lack(OfAccount, k)
				continue // its regions are missing with it
			}
			for _, region := range j.want.Regions {
				if k := (Key{Log: log, Account: account, Region: region}); !have[partID(OfRegion, k)] {
					lack(OfRegion, k)
				}
			}
		}
	}
	for _, v := range j.want.VPCs {
		if !vpcs[Key{VPC: v}] {
			lack(OfVPC, Key{Log: "flow", VPC: v})
		}
	}
	if !j.want.KnownVPCs {
		return
	}
	for _, s := range streams {
		if s.Log == inventory && s.Gone < s.Newest && !vpcs[Key{VPC: s.VPC}] && names[Key{Account: s.Account, Region: s.Region}] && !slices.Contains(j.want.VPCs, s.VPC) &&
			j.now-s.First > int64(24*time.Hour/time.Second) {
			vpcs[Key{VPC: s.VPC}] = true
			lack(OfVPC, Key{Log: "flow", Account: s.Account, Region: s.Region, VPC: s.VPC})
		}
	}
}

// maxSpeaking is how many others a part names that speak.
const maxSpeaking = 8

// speaking says of each part in trouble what else of its account, or for a part
// of an account what else of the log, is well.
func (j *judge) speaking() {
	for i := range j.parts {
		p := &j.parts[i]
		if p.State != Silent && p.State != Missing || p.Within {
			continue
		}
		for k := range j.parts {
			o := &j.parts[k]
			if o.State != OK && o.State != New && o.State != Losing {
				continue
			}
			name := ""
			switch {
			case p.Level == OfAccount && o.Level == OfAccount && o.Account == p.Account && o.Log != p.Log:
				name = o.Log
			case p.Level == OfRegion && o.Level == OfRegion && o.Account == p.Account && o.Log == p.Log:
				name = o.Region
			case p.Level == OfVPC && o.Level == OfVPC && o.Account == p.Account && o.Region == p.Region:
				name = o.VPC
			case p.Level == OfLog && o.Level == OfLog:
				name = o.Log
			}
			if name != "" && !slices.Contains(p.Speaking, name) && len(p.Speaking) < maxSpeaking {
				p.Speaking = append(p.Speaking, name)
			}
		}
		slices.Sort(p.Speaking)
	}
}
