// Added to Istio's source by the course: what Telemetry rules make of the request metrics.

package model

import (
	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/networking"
)

// The proxies are the Envoy project's own, which has no istio.stats filter: no proxy is sent one.
const upstreamEnvoy = true

const prometheusProvider = "prometheus"

// RequestStat is what rules change about one metric. Set: tag to CEL expression.
type RequestStat struct {
	Drop   bool
	Remove []string
	Set    map[string]string
}

// RequestStats tells whether rules switch off all metrics of a listener class, else what they change, by the metric's
// name in Prometheus without its prefix. Prometheus is the provider of rules that name none, as with a released Istio.
func (t *Telemetries) RequestStats(proxy *Proxy, class networking.ListenerClass) (bool, map[string]RequestStat) {
	rules := t.applicableTelemetries(proxy, nil).Metrics
	if len(rules) == 0 {
		return false, nil
	}
	merged, found := mergeMetrics(rules, &meshconfig.MeshConfig{
		DefaultProviders: &meshconfig.MeshConfig_DefaultProviders{Metrics: []string{prometheusProvider}},
	})[prometheusProvider]
	side := telemetryFilterConfig{metricsConfig: merged}.MetricsForClass(class)
	if !found || side.Disabled {
		return true, nil
	}
	stats := map[string]RequestStat{}
	for _, override := range side.Overrides {
		stat := RequestStat{Drop: override.Disabled, Set: map[string]string{}}
		for _, tag := range override.Tags {
			if tag.Remove {
				stat.Remove = append(stat.Remove, tag.Name)
			} else {
				stat.Set[tag.Name] = tag.Value
			}
		}
		stats[metricToPrometheusMetric[override.Name]] = stat
	}
	return false, stats
}
