// Added to Istio's source by the course: Telemetry rules applied to what charts/request-stats.yaml has Envoy count.

package core

import (
	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	stats "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stats/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"istio.io/istio/pilot/pkg/model"
	istionetworking "istio.io/istio/pilot/pkg/networking"
	"istio.io/istio/pilot/pkg/util/protoconv"
	"istio.io/istio/pkg/maps"
	"istio.io/istio/pkg/slices"
	"istio.io/istio/pkg/wellknown"
)

// requestStats is what rules change for one end of a call.
type requestStats struct {
	off     bool
	changes map[string]model.RequestStat
}

// By the tag `reporter` that the loggers of either end write.
var reporters = map[string]istionetworking.ListenerClass{
	"source":      istionetworking.ListenerClassSidecarOutbound,
	"destination": istionetworking.ListenerClassSidecarInbound,
}

func (lb *ListenerBuilder) applyRequestStats() {
	if lb.push.Telemetry == nil {
		return
	}
	ends := map[string]requestStats{}
	for reporter, class := range reporters {
		if off, changes := lb.push.Telemetry.RequestStats(lb.node, class); off || len(changes) > 0 {
			ends[reporter] = requestStats{off, changes}
		}
	}
	if len(ends) == 0 {
		return
	}
	for _, each := range lb.getListeners() {
		for _, chain := range append(slices.Clone(each.FilterChains), each.DefaultFilterChain) {
			for _, filter := range chain.GetFilters() {
				if filter.Name == wellknown.HTTPConnectionManager {
					applyToConnectionManager(filter, ends)
				}
			}
		}
	}
}

func applyToConnectionManager(filter *listener.Filter, ends map[string]requestStats) {
	manager := &hcm.HttpConnectionManager{}
	if filter.GetTypedConfig().UnmarshalTo(manager) != nil {
		return
	}
	logs := make([]*accesslog.AccessLog, 0, len(manager.AccessLog))
	for _, each := range manager.AccessLog {
		if log := withChanges(each, ends); log != nil {
			logs = append(logs, log)
		}
	}
	manager.AccessLog = logs
	filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: protoconv.MessageToAny(manager)}
}

// withChanges is nil for a logger that has nothing left to count; what is no logger of metrics stays as it is.
func withChanges(log *accesslog.AccessLog, ends map[string]requestStats) *accesslog.AccessLog {
	config := &stats.Config{}
	if log.GetTypedConfig().UnmarshalTo(config) != nil {
		return log
	}
	end, found := ends[reporter(config)]
	if !found {
		return log
	}
	if end.off {
		return nil
	}
	config.Counters = slices.FilterInPlace(config.Counters, func(each *stats.Config_Counter) bool {
		return keep(each.Stat, end.changes[each.Stat.Name])
	})
	config.Histograms = slices.FilterInPlace(config.Histograms, func(each *stats.Config_Histogram) bool {
		return keep(each.Stat, end.changes[each.Stat.Name])
	})
	if len(config.Counters)+len(config.Histograms) == 0 {
		return nil
	}
	log.ConfigType = &accesslog.AccessLog_TypedConfig{TypedConfig: protoconv.MessageToAny(config)}
	return log
}

func reporter(config *stats.Config) string {
	for _, counter := range config.Counters {
		for _, tag := range counter.GetStat().GetTags() {
			if tag.Name == "reporter" {
				return tag.ValueFormat
			}
		}
	}
	return ""
}

// keep says whether a metric stays, and changes its tags where it does.
func keep(stat *stats.Config_Stat, change model.RequestStat) bool {
	stat.Tags = slices.FilterInPlace(stat.Tags, func(tag *stats.Config_Tag) bool {
		_, set := change.Set[tag.Name]
		return !set && !slices.Contains(change.Remove, tag.Name)
	})
	for _, name := range slices.Sort(maps.Keys(change.Set)) {
		stat.Tags = append(stat.Tags, &stats.Config_Tag{Name: name, ValueFormat: "%CEL(" + change.Set[name] + ")%"})
	}
	return !change.Drop
}
