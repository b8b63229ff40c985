// An MQTT broker on 127.0.0.1, on the port given.
import { createServer } from 'node:net'
import aedes from 'aedes'

const broker = aedes()
broker.on('clientReady', (client) => console.log('ready', client.id))
broker.on('keepaliveTimeout', (client) => console.log('keepalive timeout', client.id))
broker.on('clientDisconnect', (client) => console.log('gone', client.id))
createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1')
