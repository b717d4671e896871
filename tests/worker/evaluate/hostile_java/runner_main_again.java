// expect: failed
// Runs the runner inside itself; there is no second nonce.
class Problem {
    static long twice(long x) {
        try {
            Class<?> runner = Class.forName("quench.Runner");
            java.lang.reflect.Method main = runner.getMethod("main", String[].class);
            main.invoke(null, (Object) new String[0]);
        } catch (ReflectiveOperationException error) {
            return 1;
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
