// expect: sandbox_violation
// The nonce would be in the dump.
class Problem {
    static long twice(long x) {
        try {
            Class<?> type = Class.forName("com.sun.management.HotSpotDiagnosticMXBean");
            Object bean = Class.forName("java.lang.management.ManagementFactory").getMethod("getPlatformMXBean", Class.class).invoke(null, type);
            type.getMethod("dumpHeap", String.class, boolean.class).invoke(bean, "/tmp/heap.hprof", true);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
