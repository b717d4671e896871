// expect: sandbox_violation
// javac keeps the state of assertions in a field of the class.
import java.lang.reflect.Field;

class Problem {
    static long twice(long x) {
        try {
            Field field = Problem.class.getDeclaredField("$assertionsDisabled");
            field.setAccessible(true);
            field.setBoolean(null, true);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
        return 0;
    }

    public static void main(String[] args) {
        assert (twice(21L) == 42L);
    }
}
