// A JMS client for the tests, on ActiveMQ's own library.
//
// publish URL: each line of standard input is a message: text or map, the queue, the text, and properties or
// entries NAME=VALUE, separated by tabs; a value of digits behind "int:" is a number.
// take URL QUEUE COUNT: takes so many messages off a queue and prints their ids.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import javax.jms.Connection;
import javax.jms.MapMessage;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import org.apache.activemq.ActiveMQConnectionFactory;

public class Jms {
    public static void main(String[] arguments) throws Exception {
        Connection connection = new ActiveMQConnectionFactory(arguments[1]).createConnection();
        connection.start();
        Session session = connection.createSession(true, Session.SESSION_TRANSACTED);
        if (arguments[0].equals("publish")) {
            publish(session);
        } else {
            MessageConsumer consumer = session.createConsumer(session.createQueue(arguments[2]));
            for (int left = Integer.parseInt(arguments[3]); left > 0; left--) {
                System.out.println(consumer.receive(10_000).getJMSMessageID());
            }
        }
        session.commit();
        connection.close();
    }

    static void publish(Session session) throws Exception {
        InputStreamReader input = new InputStreamReader(System.in, StandardCharsets.UTF_8);
        for (String line : new BufferedReader(input).lines().toList()) {
            String[] parts = line.split("\t", -1);
            boolean isMap = parts[0].equals("map");
            Message message = isMap ? session.createMapMessage() : session.createTextMessage(parts[2]);
            for (int at = 3; at < parts.length; at++) {
                String[] pair = parts[at].split("=", 2);
                Object value = pair[1].startsWith("int:") ? Integer.valueOf(pair[1].substring(4)) : pair[1];
                if (isMap) {
                    ((MapMessage) message).setObject(pair[0], value);
                } else {
                    message.setObjectProperty(pair[0], value);
                }
            }
            session.createProducer(session.createQueue(parts[1])).send(message);
        }
    }
}
